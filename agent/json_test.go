package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/getbindu/bindu-edge/internal/link"
	"github.com/getbindu/bindu-edge/internal/wire"
)

// jsonLinked serves h over a JSON session. The edge's end is given to edge, and
// both are gone when the test is.
func jsonLinked(t *testing.T, o Options, edge func(*websocket.Conn)) *jsonSession {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{wire.ProtocolJSON}})
		if err != nil {
			t.Error(err)
			return
		}
		edge(ws)
	}))
	t.Cleanup(server.Close)
	o.Edge = server.URL
	if o.Handler == nil {
		o.Handler = http.NotFoundHandler()
	}
	a, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	ws, _, err := websocket.Dial(t.Context(), server.URL, &websocket.DialOptions{Subprotocols: []string{wire.ProtocolJSON}})
	if err != nil {
		t.Fatal(err)
	}
	s := a.serveJSON(ws)
	t.Cleanup(func() { finishWithin(s, time.Second) })
	return s
}

func finishWithin(s *jsonSession, timeout time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	s.finish(ctx)
}

// jsonEdge is a session whose other end is an edge's link.
func jsonEdge(t *testing.T, h http.Handler) (*jsonSession, *link.JSON) {
	t.Helper()
	links := make(chan *link.JSON, 1)
	s := jsonLinked(t, Options{Handler: h}, func(ws *websocket.Conn) {
		links <- link.NewJSON(ws, link.JSONOptions{})
	})
	l := <-links
	t.Cleanup(func() {
		l.Close(link.ReasonDraining)
		l.Wait()
	})
	return s, l
}

func jsonAsk(t *testing.T, l *link.JSON, method, path string, body io.Reader) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://public.example"+path, body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header["X-Name"] = []string{"caf\xe9"}
	res, err := l.RoundTrip(req)
	if err != nil {
		t.Errorf("%s %s: %v", method, path, err)
		return &http.Response{Header: http.Header{}}, ""
	}
	got, err := io.ReadAll(res.Body)
	_ = res.Body.Close()
	if err != nil {
		t.Error(err)
	}
	return res, string(got)
}

func TestJSONAnswers(t *testing.T) {
	t.Parallel()
	noise := make([]byte, 100<<10)
	for i := range noise {
		noise[i] = byte(rand.Uint32())
	}
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/echo":
			if r.Host != "public.example" || r.RequestURI != "/echo?a=%20&b" || r.ContentLength < 0 {
				t.Errorf("the handler saw %s %s %d", r.Host, r.RequestURI, r.ContentLength)
			}
			w.Header().Set("X-Name", r.Header.Get("X-Name"))
			w.Header()["Set-Cookie"] = []string{"a=1", "b=2"}
			w.WriteHeader(http.StatusEarlyHints)
			w.WriteHeader(http.StatusCreated)
			w.Header().Set("X-Late", "x")
			_, _ = io.Copy(w, r.Body)
		case "/large":
			_, _ = io.WriteString(w, strings.Repeat("text ", 100_000))
		case "/noise":
			_, _ = w.Write(noise)
		case "/flood":
			for {
				if _, err := w.Write(noise); err != nil {
					return
				}
			}
		case "/bad":
			w.Header()["X-Bad"] = []string{"a\r\nb", "good"}
			w.Header()["bad name"] = []string{"x"}
		case "/abort":
			_, _ = io.WriteString(w, "half")
			panic(http.ErrAbortHandler)
		case "/head":
			w.Header().Set("Content-Length", "77")
		}
	})
	_, l := jsonEdge(t, h)
	tests := []struct {
		name, method, path, body string
		status                   int
		want                     string
	}{
		{"text", "POST", "/echo?a=%20&b", "héllo <&>", 201, "héllo <&>"},
		{"bytes", "POST", "/echo?a=%20&b", "\xff\x00", 201, "\xff\x00"},
		{"nothing", "POST", "/echo?a=%20&b", "", 201, ""},
		{"one that fits compressed", "GET", "/large", "", 200, strings.Repeat("text ", 100_000)},
		{"one that does not", "GET", "/noise", "", 502, "The answer is too large for this tunnel"},
		{"one without end", "GET", "/flood", "", 502, "The answer is too large for this tunnel"},
		{"a header that can't be", "GET", "/bad", "", 200, ""},
		{"a handler that breaks off", "GET", "/abort", "", 502, ""},
		{"a length", "HEAD", "/head", "", 200, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			res, got := jsonAsk(t, l, tt.method, tt.path, strings.NewReader(tt.body))
			if res.StatusCode != tt.status || !strings.HasPrefix(got, tt.want) || tt.status < 300 && got != tt.want {
				t.Errorf("got %d %.80q", res.StatusCode, got)
			}
			switch tt.path {
			case "/echo?a=%20&b":
				if res.Header.Get("X-Name") != "caf\xe9" || len(res.Header["Set-Cookie"]) != 2 || res.Header["X-Late"] != nil {
					t.Errorf("header %v", res.Header)
				}
			case "/bad":
				if v := res.Header["X-Bad"]; len(v) != 1 || v[0] != "good" {
					t.Errorf("header %v", res.Header)
				}
			case "/abort":
				if res.Header.Get(wire.HeaderAgentError) != wire.AgentErrorLocalUnreachable {
					t.Errorf("header %v", res.Header)
				}
			case "/head":
				if res.ContentLength != 77 {
					t.Errorf("length %d", res.ContentLength)
				}
			}
		})
	}
}

// A session that finishes lets requests in flight end, and refuses new ones.
func TestJSONFinish(t *testing.T) {
	t.Parallel()
	working, finish := make(chan struct{}), make(chan struct{})
	s, l := jsonEdge(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(working)
		<-finish
		_, _ = io.WriteString(w, "done")
	}))
	var asked sync.WaitGroup
	asked.Go(func() {
		if res, got := jsonAsk(t, l, "GET", "/", nil); res.StatusCode != 200 || got != "done" {
			t.Errorf("in flight: %d %q", res.StatusCode, got)
		}
	})
	<-working
	asked.Go(func() { finishWithin(s, 10*time.Second) })
	for !s.leaving.Load() {
		if err := l.Probe(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if res, _ := jsonAsk(t, l, "GET", "/", nil); res.StatusCode != 503 || res.Header.Get("Retry-After") == "" {
		t.Errorf("a new request got %d", res.StatusCode)
	}
	if s.agent.Linked() {
		t.Error("still linked")
	}
	close(finish)
	asked.Wait()
	<-l.Done()
	if l.Reason() != link.ReasonLeft {
		t.Errorf("the edge saw %s", l.Reason())
	}
}

// A handler whose link has ended is told to stop.
func TestJSONLinkLost(t *testing.T) {
	t.Parallel()
	working, stopped := make(chan struct{}), make(chan struct{})
	s, l := jsonEdge(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(working)
		<-r.Context().Done()
		close(stopped)
	}))
	go func() {
		<-working
		l.Close(link.ReasonRevoked)
	}()
	if _, err := l.RoundTrip(httptest.NewRequestWithContext(t.Context(), "GET", "/", nil)); err == nil {
		t.Error("answered")
	}
	<-stopped
	<-s.done
	if err := s.end(); err == nil || !strings.Contains(err.Error(), "tunnel_revoked") {
		t.Errorf("ended with %v", err)
	}
}

func TestJSONStrictness(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, message string
		binary        bool
		want          websocket.StatusCode // 0: it is answered
		status        int
	}{
		{"least", `{"type":"request","request_id":"1","method":"GET","path":"/","headers":{}}`, false, 0, 404},
		{"a body that is no base64", `{"type":"request","request_id":"1","method":"GET","path":"/","headers":{},"body":"!","body_encoding":"base64"}`, false, 0, 400},
		{"an unknown encoding", `{"type":"request","request_id":"1","method":"GET","path":"/","headers":{},"body":"x","body_encoding":"hex"}`, false, 0, 400},
		{"no path", `{"type":"request","request_id":"1","method":"GET","path":"","headers":{}}`, false, 0, 400},
		{"an absolute path", `{"type":"request","request_id":"1","method":"GET","path":"http://evil.example/","headers":{}}`, false, 0, 400},
		{"two slashes", `{"type":"request","request_id":"1","method":"GET","path":"//x/y","headers":{}}`, false, 0, 404},
		{"a bad method", `{"type":"request","request_id":"1","method":"G T","path":"/","headers":{}}`, false, 0, 400},
		{"a bad header", `{"type":"request","request_id":"1","method":"GET","path":"/","headers":{"x":"a\nb"}}`, false, 0, 400},
		{"unknown fields", `{"type":"request","request_id":"1","method":"GET","path":"/","headers":{},"x":1}`, false, 0, 404},
		{"no JSON", `x`, false, 1008, 0},
		{"a list", `[]`, false, 1008, 0},
		{"no type", `{}`, false, 1008, 0},
		{"an unknown type", `{"type":"response"}`, false, 1008, 0},
		{"no request_id", `{"type":"request","method":"GET","path":"/","headers":{}}`, false, 1008, 0},
		{"a wrong type", `{"type":"request","request_id":1,"method":"GET","path":"/","headers":{}}`, false, 1008, 0},
		{"no UTF-8", "{\"type\":\"\xff\"}", false, 1007, 0},
		{"bytes", `{"type":"ping"}`, true, 1003, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			closed := make(chan websocket.StatusCode, 1)
			s := jsonLinked(t, Options{}, func(ws *websocket.Conn) {
				ctx := context.Background()
				kind := websocket.MessageText
				if tt.binary {
					kind = websocket.MessageBinary
				}
				_ = ws.Write(ctx, kind, []byte(tt.message))
				_, raw, err := ws.Read(ctx)
				if closed <- websocket.CloseStatus(err); err == nil {
					var m struct{ Status int }
					if err := json.Unmarshal(raw, &m); err != nil || m.Status != tt.status {
						t.Errorf("answered %s, want %d", raw, tt.status)
					}
					_ = ws.Close(websocket.StatusGoingAway, "draining")
				}
			})
			<-s.done
			if tt.want == 0 {
				tt.want = -1 // no close, but an answer
			}
			if got := <-closed; got != tt.want {
				t.Errorf("closed with %d, want %d", got, tt.want)
			}
			if err := s.end(); err == nil || tt.want == -1 && !strings.Contains(err.Error(), "draining") {
				t.Errorf("ended with %v", err)
			}
		})
	}
}

// The agent asks an edge that falls silent, and gives up.
func TestJSONSilentEdge(t *testing.T) {
	t.Parallel()
	pinged := make(chan []byte, 1)
	s := jsonLinked(t, Options{PingInterval: 20 * time.Millisecond, PingTimeout: 2 * time.Second}, func(ws *websocket.Conn) {
		_, raw, _ := ws.Read(context.Background())
		pinged <- raw
		_, _, _ = ws.Read(context.Background())
		_ = ws.CloseNow()
	})
	if got := <-pinged; !bytes.Equal(got, []byte(`{"type":"ping"}`)) {
		t.Errorf("got %s", got)
	}
	<-s.done
	if err := s.end(); !errors.Is(err, errSilent) {
		t.Errorf("ended with %v", err)
	}
}

// More requests at once than the agent serves are refused, and nothing waits.
func TestJSONLimit(t *testing.T) {
	t.Parallel()
	var working sync.WaitGroup
	working.Add(wire.MaxStreams)
	finish := make(chan struct{})
	_, l := jsonEdge(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		working.Done()
		<-finish
	}))
	var asked sync.WaitGroup
	for range wire.MaxStreams {
		asked.Go(func() {
			if res, _ := jsonAsk(t, l, "GET", "/", nil); res.StatusCode != 200 {
				t.Errorf("got %d", res.StatusCode)
			}
		})
	}
	working.Wait()
	if res, _ := jsonAsk(t, l, "GET", "/", nil); res.StatusCode != 503 {
		t.Errorf("one too many got %d", res.StatusCode)
	}
	close(finish)
	asked.Wait()
}
