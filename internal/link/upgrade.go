package link

import (
	"context"
	"io"
	"net/http"

	"github.com/getbindu/bindu-edge/internal/fault"
	"github.com/getbindu/bindu-edge/internal/wire"
)

// upgrade carries "Upgrade: websocket" as one full-duplex stream: a POST whose
// body is what the caller sends, answered by a 200 with the marker whose body is
// what the local server sends. Any other answer is passed on as it is.
func (l *H2) upgrade(req *http.Request) (*http.Response, error) {
	protocol := req.Header.Get("Upgrade")
	closeBody(req)
	toAgent, fromCaller := io.Pipe()
	out := *req
	out.Method = http.MethodPost
	out.Header = req.Header.Clone()
	out.Header.Del("Upgrade") // Connection is gone already
	out.Header.Set(wire.HeaderUpgrade, protocol)
	out.Body = toAgent
	out.ContentLength = -1
	res, err := l.send(&out)
	if err != nil {
		return nil, err
	}
	marker := res.Header.Get(wire.HeaderUpgrade)
	if res.StatusCode == http.StatusSwitchingProtocols || (marker != "" && (res.StatusCode != http.StatusOK || marker != protocol)) {
		_ = toAgent.Close()
		_ = res.Body.Close()
		return nil, fault.New(fault.BadAgentResponse, "The agent answered an upgrade with nonsense.")
	}
	if marker == "" {
		_ = toAgent.Close() // the local server declined: nothing more goes to it
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
