package relay

import (
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"strings"
	"syscall"
	"time"

	"github.com/getbindu/bindu-edge/internal/fault"
	"github.com/getbindu/bindu-edge/internal/tunnel"
	"github.com/getbindu/bindu-edge/internal/wire"
)

// To returns the way to a tunnel that pod holds. Beside the rules of
// h2.Conn.RoundTrip: its errors are *fault.Errors or the context's cause; one
// that satisfies fault.ErrNotDelivered may also be ErrMisdirected, ErrGone,
// ErrUnreachable or ErrLeft, and then the tunnel is to be looked for again.
func (c *Client) To(pod tunnel.PodID, id tunnel.ID) http.RoundTripper {
	return roundTripper(func(req *http.Request) (*http.Response, error) {
		began := time.Now()
		res, err := c.traced(req, pod, id)
		c.metrics.ended(began, err, req.Context().Err() != nil)
		return res, err
	})
}

func (c *Client) hop(req *http.Request, pod tunnel.PodID, id tunnel.ID) (*http.Response, error) {
	conn, err := c.connect(req.Context(), pod)
	if err != nil {
		wire.CloseBody(req)
		if req.Context().Err() != nil {
			return nil, err
		}
		why := ErrUnreachable
		if errors.Is(err, syscall.ECONNRESET) {
			why = ErrGone // it had taken the connection, and was killed before it knew
		}
		return nil, unavailable("The pod that holds this tunnel can't be reached.", errors.Join(why, err))
	}
	out := *req
	out.Header = maps.Clone(req.Header)
	if out.Header == nil {
		out.Header = http.Header{}
	}
	out.Header[headerTunnel] = []string{string(id)}
	delete(out.Header, headerCaller)
	if caller := tunnel.Caller(req.Context()); caller.IsValid() {
		out.Header[headerCaller] = []string{caller.String()}
	}
	if req.Body != nil && req.Body != http.NoBody && (req.ContentLength < 0 || req.ContentLength > expectAbove) {
		// The other pod says 100 when it begins to read, which is when it has found
		// the link. One that has not leaves the body to another attempt.
		out.Header["Expect"] = []string{"100-continue"}
	}
	res, err := conn.RoundTrip(&out)
	if err != nil {
		return nil, ofHop(err)
	}
	if res.Header.Get(headerError) != "" {
		defer func() { _ = res.Body.Close() }()
		return nil, readFault(res)
	}
	return res, nil
}

// expectAbove is the size of a body, in bytes, that is worth a round trip to keep.
// Of smaller ones route keeps a copy.
const expectAbove = 64 << 10

// ofHop puts a failure of the connection into the words of a hop.
func ofHop(err error) error {
	e, coded := errors.AsType[*fault.Error](err)
	switch {
	case !coded:
		return err // the context's
	case errors.Is(err, fault.ErrNotDelivered) && (e.Code == fault.TunnelOffline || e.Code == fault.ConcurrencyLimited):
		return unavailable("The pod that holds this tunnel went away before it took the request.", errors.Join(ErrLeft, err))
	case e.Code == fault.LinkLost:
		return fault.Wrap(fault.LinkLost, "The pod that held this tunnel was lost while it worked on the request.", err)
	}
	return err
}

func unavailable(detail string, cause error) *fault.Error {
	return fault.Wrap(fault.RelayUnavailable, detail, errors.Join(fault.ErrNotDelivered, cause))
}

// faultDetails is what a fault's answer says beside its code.
type faultDetails struct {
	Detail     string      `json:"detail,omitempty"`
	RetryAfter int64       `json:"retry_after_ms,omitempty"`
	Status     int         `json:"status,omitempty"`
	Header     http.Header `json:"header,omitempty"`
}

// maxFault bounds the details of a fault.
const maxFault = 64 << 10

// writeFault answers a hop with a failure of this pod's.
func writeFault(w http.ResponseWriter, err error) {
	e := fault.From(err)
	undelivered := errors.Is(err, fault.ErrNotDelivered) || e.Code.Retryable()
	status := e.Code.Status()
	if undelivered && e.Code == fault.TunnelOffline {
		status = http.StatusMisdirectedRequest // it is not here: RFC 9110, section 15.5.20
	}
	text, jsonErr := json.Marshal(faultDetails{Detail: e.Detail, RetryAfter: e.RetryAfter.Milliseconds(), Status: e.Status, Header: e.Header})
	if jsonErr != nil || len(text) > maxFault {
		text = []byte("{}")
	}
	h := w.Header()
	clear(h)
	h.Set(headerError, string(e.Code))
	if undelivered {
		h.Set(headerRefused, "1")
	}
	// JSON escapes whatever a field may not hold, but for DEL.
	h.Set(headerFault, strings.ReplaceAll(string(text), "\x7f", `\u007f`))
	w.WriteHeader(status)
}

// readFault is the failure that another pod's answer stands for.
func readFault(res *http.Response) error {
	code := fault.Code(res.Header.Get(headerError))
	refused := res.Header.Get(headerRefused) != ""
	if code.Status() == 0 {
		const detail = "The pod that holds this tunnel gave an error that this one does not know."
		if refused {
			return unavailable(detail, errAtOwner)
		}
		return fault.Wrap(fault.Internal, detail, errAtOwner)
	}
	var more faultDetails
	if text := res.Header.Get(headerFault); len(text) > maxFault || json.Unmarshal([]byte(text), &more) != nil {
		more = faultDetails{} // the code says enough
	}
	e := &fault.Error{
		Code: code, Detail: more.Detail, Header: more.Header, Err: errAtOwner,
		RetryAfter: time.Duration(min(max(more.RetryAfter, 0), maxRetryAfter)) * time.Millisecond,
	}
	if more.Status >= 400 && more.Status <= 599 {
		e.Status = more.Status
	}
	if refused {
		e.Err = errors.Join(fault.ErrNotDelivered, e.Err)
		if res.StatusCode == http.StatusMisdirectedRequest {
			e.Err = errors.Join(ErrMisdirected, e.Err)
		}
	}
	return e
}

const maxRetryAfter = int64(24 * time.Hour / time.Millisecond)

var errAtOwner = errors.New("said the pod that holds the tunnel")
