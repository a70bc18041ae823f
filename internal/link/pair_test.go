package link_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"go.uber.org/goleak"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/getbindu/bindu-edge/agent"
	"github.com/getbindu/bindu-edge/internal/link"
	"github.com/getbindu/bindu-edge/internal/wire"
	"github.com/getbindu/bindu-edge/internal/wsconn"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// door is the smallest edge: it makes a link of every agent that comes.
type door struct {
	*httptest.Server
	links chan *link.H2
}

func newDoor(t testing.TB, o link.Options) *door {
	t.Helper()
	d := &door{links: make(chan *link.H2, 4)}
	opener := link.NewOpener(o)
	d.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		small := wsconn.SmallBuffers(w)
		ws, err := websocket.Accept(small, r, &websocket.AcceptOptions{Subprotocols: []string{wire.ProtocolH2}})
		if err != nil {
			return
		}
		l, err := opener.Open(r.Context(), small.Conn(ws, nil))
		if err != nil {
			return // an agent that leaves as it comes; the test waits for its link
		}
		d.links <- l
		<-l.Done()
	}))
	t.Cleanup(d.Close)
	return d
}

// pair links our own agent, which answers with h.
func pair(t testing.TB, h http.Handler) *link.H2 {
	t.Helper()
	l, _ := pairWith(t, h, link.Options{})
	return l
}

// pairWith also returns the end of the agent: it says goodbye.
func pairWith(t testing.TB, h http.Handler, o link.Options) (*link.H2, func()) {
	t.Helper()
	d := newDoor(t, o)
	a, err := agent.New(agent.Options{Edge: d.URL, TunnelID: "t", Token: "x", Handler: h, ShutdownTimeout: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	ctx, leave := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = a.Run(ctx) })
	l := <-d.links
	t.Cleanup(func() {
		l.Close(link.ReasonDraining)
		leave()
		running.Wait()
	})
	return l, leave
}

// stranger is an agent that speaks frames by hand: it can do what no library
// would.
type stranger struct {
	*http2.Framer
	ws *websocket.Conn
	t  *testing.T
}

// meet links a stranger whose settings are answered already.
func meet(t *testing.T, o link.Options, settings ...http2.Setting) (*link.H2, *stranger) {
	t.Helper()
	d := newDoor(t, o)
	ws, _, err := websocket.Dial(t.Context(), d.URL, &websocket.DialOptions{Subprotocols: []string{wire.ProtocolH2}})
	if err != nil {
		t.Fatal(err)
	}
	conn := websocket.NetConn(context.Background(), ws, websocket.MessageBinary)
	preface := make([]byte, len(http2.ClientPreface))
	if _, err := io.ReadFull(conn, preface); err != nil || string(preface) != http2.ClientPreface {
		t.Fatalf("preface %q, %v", preface, err)
	}
	s := &stranger{Framer: http2.NewFramer(conn, conn), ws: ws, t: t}
	s.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	if err := s.WriteSettings(settings...); err != nil {
		t.Fatal(err)
	}
	if err := s.WriteSettingsAck(); err != nil {
		t.Fatal(err)
	}
	l := <-d.links
	t.Cleanup(func() {
		l.Close(link.ReasonDraining)
		_ = ws.CloseNow()
	})
	return l, s
}

// nextRequest reads frames until a request comes, and returns its stream.
func (s *stranger) nextRequest() uint32 {
	for {
		frame, err := s.ReadFrame()
		if err != nil {
			s.t.Errorf("waiting for a request: %v", err)
			return 0
		}
		if h, ok := frame.(*http2.MetaHeadersFrame); ok {
			return h.StreamID
		}
	}
}

// settingsTaken waits until the edge has acknowledged our settings.
func (s *stranger) settingsTaken() {
	for {
		frame, err := s.ReadFrame()
		if err != nil {
			s.t.Errorf("waiting for the acknowledgement: %v", err)
			return
		}
		if f, ok := frame.(*http2.SettingsFrame); ok && f.IsAck() {
			return
		}
	}
}

func newRequest(t testing.TB, method, path string, body io.Reader) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://public.example"+path, body)
	if err != nil {
		t.Fatal(err)
	}
	return req
}

// want sends a request and compares the answer.
func want(t testing.TB, l http.RoundTripper, req *http.Request, status int, body string) {
	t.Helper()
	res, err := l.RoundTrip(req)
	if err != nil {
		t.Errorf("%s %s: %v", req.Method, req.URL.Path, err)
		return
	}
	defer func() { _ = res.Body.Close() }()
	got, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != status || string(got) != body {
		t.Errorf("%s %s: got %d %.40q (%d bytes) %v, want %d %.40q (%d bytes)", req.Method, req.URL.Path, res.StatusCode, got, len(got), err, status, body, len(body))
	}
}

func text(s string) *strings.Reader { return strings.NewReader(s) }
