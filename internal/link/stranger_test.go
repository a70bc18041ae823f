package link_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/getbindu/bindu-edge/internal/link"
	"github.com/getbindu/bindu-edge/internal/wire"
)

// Nothing that a caller or a local server does may end the link: another
// request that is on its way all the while must end well.
func TestNoStrangerEndsALink(t *testing.T) {
	t.Parallel()
	large := strings.Repeat("x", 1000)
	fill := func(h http.Header, prefix string) {
		for i := range 3 * wire.MaxLocalHeader / 1000 {
			h.Set(prefix+"X-"+strings.Repeat("a", 1+i/26)+string(rune('a'+i%26)), large)
		}
	}
	tests := []struct {
		name    string
		handler http.HandlerFunc
		request func(*http.Request)
		status  int // 0: an error is fine too
	}{
		{"Connection: close", ok, func(r *http.Request) { r.Header.Set("Connection", "close") }, 200},
		{"Request.Close", ok, func(r *http.Request) { r.Close = true }, 200},
		{"a huge header", func(w http.ResponseWriter, _ *http.Request) {
			fill(w.Header(), "")
			w.WriteHeader(200)
		}, nil, 502},
		{"one huge field", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Big", strings.Repeat("x", 2*wire.MaxResponseHeader))
			_, _ = io.WriteString(w, "body")
		}, nil, 502},
		{"a huge early hint", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Link", strings.Repeat("x", 2*wire.MaxResponseHeader))
			w.WriteHeader(http.StatusEarlyHints)
			w.Header().Del("Link")
			ok(w, r)
		}, nil, 200},
		{"a huge trailer", func(w http.ResponseWriter, r *http.Request) {
			ok(w, r)
			fill(w.Header(), http.TrailerPrefix)
		}, nil, 200},
		{"a panic", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, nil, 0},
		{"a header that can't be", func(w http.ResponseWriter, r *http.Request) {
			w.Header()["bad name\n"] = []string{"x"}
			w.Header().Set("X-Bad", "a\r\nb")
			ok(w, r)
		}, nil, 200},
		{"a wrong length", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "100")
			ok(w, r)
		}, nil, 0},
		{"a header larger than the agent takes", ok, func(r *http.Request) { fill(r.Header, "") }, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			working, finish := make(chan struct{}), make(chan struct{})
			l := pair(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/other" {
					close(working)
					<-finish
					ok(w, r)
					return
				}
				tt.handler(w, r)
			}))
			var other sync.WaitGroup
			other.Go(func() { want(t, l, newRequest(t, http.MethodGet, "/other", nil), 200, "ok") })
			<-working
			req := newRequest(t, http.MethodGet, "/", nil)
			if tt.request != nil {
				tt.request(req)
			}
			res, err := l.RoundTrip(req)
			if err == nil {
				_, _ = io.Copy(io.Discard, res.Body)
				_ = res.Body.Close()
				if tt.status != 0 && res.StatusCode != tt.status {
					t.Errorf("status %d, want %d", res.StatusCode, tt.status)
				}
			} else if tt.status != 0 {
				t.Errorf("failed: %v", err)
			}
			close(finish)
			other.Wait()
			if err := l.Probe(t.Context()); err != nil {
				t.Error(err)
			}
			select {
			case <-l.Done():
				t.Errorf("the link ended: %s, %v", l.Reason(), l.Err())
			default:
			}
		})
	}
}

// One stalled stream must not stop the others, nor a hundred: neither side's
// connection window is ever the bottleneck.
func TestStalledStreamsStopNobody(t *testing.T) {
	t.Parallel()
	const stalled = 100
	release := make(chan struct{})
	var began sync.WaitGroup
	began.Add(2 * stalled)
	l := pair(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/upload": // never read
			began.Done()
			<-release
		case "/download": // the caller never reads
			began.Done()
			chunk := make([]byte, 64<<10)
			for r.Context().Err() == nil {
				if _, err := w.Write(chunk); err != nil {
					return
				}
			}
		default:
			_, _ = io.Copy(w, r.Body)
		}
	}))
	ctx, cancel := context.WithCancel(t.Context())
	var callers sync.WaitGroup
	for range stalled {
		callers.Go(func() {
			res, err := l.RoundTrip(newRequest(t, http.MethodPost, "/upload", endless{}).WithContext(ctx))
			if err == nil {
				_ = res.Body.Close()
			} else if ctx.Err() == nil {
				t.Error(err)
			}
		})
		callers.Go(func() {
			res, err := l.RoundTrip(newRequest(t, http.MethodGet, "/download", nil).WithContext(ctx))
			if err != nil {
				t.Error(err)
				return
			}
			<-ctx.Done()
			_ = res.Body.Close()
		})
	}
	began.Wait()
	for range 3 {
		body := strings.Repeat("y", 4<<20) // more than any stream's window
		want(t, l, newRequest(t, http.MethodPost, "/", text(body)), 200, body)
	}
	cancel()
	close(release)
	callers.Wait()
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

func upgradeRequest(t *testing.T, path string) *http.Request {
	req := newRequest(t, http.MethodGet, path, nil)
	req.Header.Set("Connection", "Upgrade")
	req.Header.Set("Upgrade", "websocket")
	return req
}

func TestUpgradeIsOneStream(t *testing.T) {
	t.Parallel()
	l := pair(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/no" {
			http.Error(w, "no", http.StatusForbidden)
			return
		}
		if !wire.IsWebSocketUpgrade(r) {
			t.Errorf("the handler saw %s %v", r.Method, r.Header)
		}
		conn, buffered, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer func() { _ = conn.Close() }()
		_, _ = buffered.WriteString("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nX-Kept: yes\r\n\r\nhello\n")
		_ = buffered.Flush()
		_, _ = io.Copy(conn, buffered) // until the caller has sent all
		_, _ = io.WriteString(conn, "bye\n")
	}))
	res, err := l.RoundTrip(upgradeRequest(t, "/"))
	if err != nil {
		t.Fatal(err)
	}
	if res.StatusCode != 101 || res.Header.Get("Upgrade") != "websocket" || res.Header.Get("X-Kept") != "yes" || res.Header.Get(wire.HeaderUpgrade) != "" {
		t.Errorf("got %d %v", res.StatusCode, res.Header)
	}
	body := res.Body.(interface {
		io.ReadWriteCloser
		CloseWrite() error
	})
	lines := bufio.NewReader(body)
	expect := func(want string) {
		t.Helper()
		if line, err := lines.ReadString('\n'); line != want {
			t.Errorf("read %q %v, want %q", line, err, want)
		}
	}
	expect("hello\n")
	for _, s := range []string{"one\n", "two\n"} {
		_, _ = io.WriteString(body, s)
		expect(s)
	}
	_ = body.CloseWrite()
	expect("bye\n")
	if _, err := lines.ReadByte(); err != io.EOF {
		t.Errorf("the stream ended with %v, want io.EOF", err)
	}
	_ = body.Close()
	want(t, l, upgradeRequest(t, "/no"), 403, "no\n") // a refusal passes as it is
}

// A caller that is gone ends the upgraded stream at the agent.
func TestUpgradeEndsWithItsCaller(t *testing.T) {
	t.Parallel()
	ended := make(chan struct{})
	l := pair(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Upgrade", "websocket")
		w.WriteHeader(http.StatusSwitchingProtocols)
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		go func() { // a hijacker may return at once
			defer close(ended)
			_, _ = io.Copy(io.Discard, conn)
			_ = conn.Close()
		}()
	}))
	ctx, cancel := context.WithCancel(t.Context())
	res, err := l.RoundTrip(upgradeRequest(t, "/").WithContext(ctx))
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	select {
	case <-ended:
	case <-time.After(10 * time.Second):
		t.Error("the agent's end goes on")
	}
	_ = res.Body.Close()
}

// An agent that does not answer is not alive.
func TestProbeFailsOnADeadLink(t *testing.T) {
	t.Parallel()
	l, _ := meet(t, link.Options{})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := l.Probe(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a silent agent answered: %v", err)
	}
}
