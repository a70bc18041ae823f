package relaytest

import (
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/getbindu/bindu-edge/internal/given"
	"github.com/getbindu/bindu-edge/internal/h2"
	"github.com/getbindu/bindu-edge/internal/upgrade"
	"github.com/getbindu/bindu-edge/internal/wire"
)

// newAgent is a link to an agent that answers with h: HTTP/2 in reverse, as over
// a WebSocket, within this process.
func newAgent(t testing.TB, h http.HandlerFunc) http.RoundTripper {
	t.Helper()
	ours, theirs := net.Pipe()
	side := &agentSide{t: t, handler: h}
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	server := &http.Server{
		Handler: side, Protocols: protocols, MaxHeaderBytes: wire.MaxRequestHeader, DisableGeneralOptionsHandler: true,
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams: wire.MaxStreams, MaxReadFrameSize: wire.MaxReadFrame,
			MaxReceiveBufferPerConnection: wire.ConnectionWindow, MaxReceiveBufferPerStream: wire.StreamWindow,
		},
	}
	listener := given.NewListener(theirs.LocalAddr(), theirs)
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(listener) })
	conn, err := h2.NewOpener(h2.Options{}).Open(t.Context(), &carrier{Conn: ours, done: make(chan struct{})})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = conn.Close()
		_ = server.Close()
		serving.Wait()
		side.running.Wait()
	})
	return conn
}

// agentSide is what an agent does with each request before anybody sees it.
type agentSide struct {
	t       testing.TB
	handler http.Handler
	running sync.WaitGroup
}

func (a *agentSide) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.running.Add(1)
	defer a.running.Done()
	for name := range r.Header {
		if strings.HasPrefix(name, "Bindu-Hop-") {
			a.t.Errorf("the agent saw %s", name)
		}
	}
	protocol, expect := r.Header.Get(wire.HeaderUpgrade), r.Header.Get(wire.HeaderExpect)
	wire.StripPrefix(r.Header)
	if expect != "" {
		r.Header.Set("Expect", expect)
	}
	if protocol != "" {
		upgrade.Serve(a.handler, w, r, protocol)
		return
	}
	a.handler.ServeHTTP(w, r)
}

// carrier makes an h2.Carrier of a connection.
type carrier struct {
	net.Conn
	once sync.Once
	done chan struct{}
}

func (c *carrier) Done() <-chan struct{} { return c.done }
func (c *carrier) Err() error            { return net.ErrClosed }

func (c *carrier) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if err != nil {
		c.once.Do(func() { close(c.done) })
	}
	return n, err
}

func (c *carrier) Close() error {
	c.once.Do(func() { close(c.done) })
	return c.Conn.Close()
}
