// Package upgrade carries an upgraded connection (RFC 9110, section 7.8) as one
// full-duplex HTTP/2 stream: Send is the end that asks, Serve the end that
// answers. It decides nothing: which upgrades are allowed was decided before
// Send, and what becomes of one is the handler's behind Serve. What comes from
// the far side is untrusted.
package upgrade

import (
	"context"
	"errors"
	"io"
	"net/http"

	"github.com/getbindu/bindu-edge/internal/wire"
)

// ErrNonsense is an answer to an upgrade that can't be understood.
var ErrNonsense = errors.New("the answer to an upgrade is nonsense")

// Send carries the upgrade that req asks for ("Upgrade: websocket", Connection
// removed) through send as one full-duplex stream: a POST whose body is what the
// caller sends, answered by a 200 with the marker whose body is what the far side
// sends. That comes back as a 101 whose body is an io.ReadWriteCloser with
// CloseWrite; any other answer as it is.
func Send(req *http.Request, send func(*http.Request) (*http.Response, error)) (*http.Response, error) {
	protocol := req.Header.Get("Upgrade")
	wire.CloseBody(req)
	toAgent, fromCaller := io.Pipe()
	out := *req
	out.Method = http.MethodPost
	out.Header = req.Header.Clone()
	out.Header.Del("Upgrade")
	out.Header.Set(wire.HeaderUpgrade, protocol)
	out.Body = toAgent
	out.ContentLength = -1
	res, err := send(&out)
	if err != nil {
		return nil, err
	}
	marker := res.Header.Get(wire.HeaderUpgrade)
	if res.StatusCode == http.StatusSwitchingProtocols || (marker != "" && (res.StatusCode != http.StatusOK || marker != protocol)) {
		_ = toAgent.Close()
		_ = res.Body.Close()
		return nil, ErrNonsense
	}
	if marker == "" {
		_ = fromCaller.Close() // declined: nothing goes to the far side, and its answer is read to the end
		return res, nil
	}
	res.StatusCode = http.StatusSwitchingProtocols
	res.Status = "101 Switching Protocols"
	// What carried it here was a POST over HTTP/2; the caller reads the answer to
	// its GET over HTTP/1.1, which may have no Content-Length (RFC 9110, section
	// 8.6) and must not close.
	res.Request = req
	res.Proto, res.ProtoMajor, res.ProtoMinor = "HTTP/1.1", 1, 1
	res.ContentLength = 0
	res.Header.Del(wire.HeaderUpgrade)
	res.Header.Set("Upgrade", protocol)
	res.Header.Set("Connection", "Upgrade")
	// The library does not look at the context while it waits for a body's bytes.
	ctx := req.Context()
	stop := context.AfterFunc(ctx, func() { _ = fromCaller.CloseWithError(ctx.Err()) })
	res.Body = &duplex{ReadCloser: res.Body, to: fromCaller, unwatch: stop}
	return res, nil
}

// duplex is the body of a 101: reading gives the agent's bytes, writing sends
// the caller's.
type duplex struct {
	io.ReadCloser
	to      *io.PipeWriter
	unwatch func() bool // of the request's context
}

func (d *duplex) Write(p []byte) (int, error) { return d.to.Write(p) }

// CloseWrite tells the agent that the caller sends no more.
func (d *duplex) CloseWrite() error { return d.to.Close() }

// Close ends both directions; the agent sees its stream reset unless both had
// ended before.
func (d *duplex) Close() error {
	d.unwatch()
	_ = d.to.CloseWithError(io.ErrClosedPipe)
	return d.ReadCloser.Close()
}
