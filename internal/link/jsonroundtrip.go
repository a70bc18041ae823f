package link

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"net/http"
	"net/http/httptrace"

	"github.com/getbindu/bindu-edge/internal/fault"
	"github.com/getbindu/bindu-edge/internal/wire"
)

// RoundTrip sends one request to the agent, when all of its body is read, and
// returns the answer when all of that is there. It follows H2.RoundTrip's rules
// but for these: an upgrade can't be carried (upgrade_unsupported); a request
// whose message would be larger than MaxMessage fails with request_too_large,
// before its body is read if its length says so; trailers are dropped both
// ways; an answer that can't be used is bad_agent_response.
//
// WroteRequest of the context's httptrace is called when the message is there to be
// sent: it has then been handed over, and how long the agent takes to read it is a
// part of how long it takes to answer. What waits so is bounded: over the bound
// RoundTrip fails, and the agent gets nothing of the request. An answer must be closed, as always: until then it counts against the pod's
// memory, see JSONOptions.Budget.
func (l *JSON) RoundTrip(req *http.Request) (*http.Response, error) {
	return traced(req, wire.ProtocolJSON, l.roundTrip)
}

func (l *JSON) roundTrip(req *http.Request) (*http.Response, error) {
	defer wire.CloseBody(req)
	if len(req.Header["Upgrade"]) > 0 {
		return nil, fault.New(fault.UpgradeUnsupported, "The agent of this tunnel takes whole requests only. Agents that speak bindu.h2 take upgrades.")
	}
	select {
	case <-l.leaving: // before the body is read for nothing
		return nil, l.refusal()
	default:
	}
	if req.ContentLength <= int64(l.opts.MaxMessage) { // else it is too large in any case
		if err := l.full(max(0, req.ContentLength)); err != nil { // before it, too
			return nil, err
		}
	}
	ctx := req.Context()
	id := newRequestID()
	message := messages.Get().(*[]byte)
	encoded, err := encodeRequest((*message)[:0], req, id, l.opts.MaxMessage)
	if err != nil {
		messages.Put(message)
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, err
	}
	*message = encoded
	out, call, err := l.send(id, message)
	if err != nil {
		putBuffer(&messages, message)
		if errors.Is(err, errTakesNone) {
			return nil, l.refusal()
		}
		return nil, err
	}
	defer l.forget(id, out, call)
	if trace := httptrace.ContextClientTrace(ctx); trace != nil && trace.WroteRequest != nil {
		trace.WroteRequest(httptrace.WroteRequestInfo{})
	}
	select {
	case a := <-call:
		return l.answered(req, a)
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-l.done:
		select {
		case a := <-call: // it was faster
			return l.answered(req, a)
		default:
		}
		if !l.begun(out) {
			return nil, l.refusal()
		}
		return nil, fault.Wrap(fault.LinkLost, "The agent's connection was lost while it worked on the request.", l.Err())
	}
}

// refusal is the error of a request that was not handed over.
func (l *JSON) refusal() error {
	select {
	case <-l.done:
		return fault.NotDelivered("The agent's connection has just ended.", l.Err())
	default:
		return fault.NotDelivered("The agent is leaving this connection.", nil)
	}
}

// answered makes the caller's response of the agent's.
func (l *JSON) answered(req *http.Request, a answer) (*http.Response, error) {
	res, err := l.response(req, &a)
	if err != nil {
		a.drop()
	}
	return res, err
}

func (l *JSON) response(req *http.Request, a *answer) (*http.Response, error) {
	if !a.compressed {
		return a.response(req)
	}
	plain, err := l.opts.Inflater.inflate(req.Context(), a)
	if err != nil {
		if req.Context().Err() != nil {
			return nil, context.Cause(req.Context())
		}
		if e, ok := errors.AsType[*fault.Error](err); ok {
			return nil, e // there was no room
		}
		return nil, badAnswer("The agent answered with compressed data that can't be read.", err)
	}
	return unpacked(req, a, plain)
}

// unpacked reads what a compressed response held: a full response to the same
// request.
func unpacked(req *http.Request, outer *answer, plain []byte) (*http.Response, error) {
	kind, inner, bad := parseMessage(plain)
	switch {
	case bad != nil:
		return nil, badAnswer("The agent answered with compressed data that is no response.", bad)
	case kind != wire.TypeResponse || inner.id != outer.id || inner.compressed:
		return nil, badAnswer("The agent answered with compressed data that is no response to this request.", nil)
	}
	inner.kept, inner.inflated = outer.kept, int64(len(plain))
	return inner.response(req)
}

// newRequestID is 128 random bits: an agent can't answer what it was not asked.
func newRequestID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails, see crypto/rand
	return hex.EncodeToString(b[:])
}
