package e2e

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestFirstByteClock(t *testing.T) {
	t.Parallel()
	s := newStages()
	w := startWorld(t, s, "REQUEST_TIMEOUT_SECONDS=1")
	for _, test := range []struct{ name, method, body string }{{"no body", "GET", ""}, {"body", "POST", "x"}} {
		t.Run(test.name, func(t *testing.T) {
			began := time.Now()
			a := do(t, request(t.Context(), t, test.method, w.url("/wait"), strings.NewReader(test.body)))
			wantError(t, a, 504, "first_byte_timeout")
			if took := time.Since(began); took < time.Second {
				t.Errorf("after %s already", took)
			}
			wantWithin(t, "the 504", began, time.Second)
			receive(t, "the origin is told to stop", s.ended)
		})
	}
	t.Run("the connection serves on", func(t *testing.T) {
		c := dialRaw(t, w.edge)
		c.send(w.on("GET", "/wait"))
		wantError(t, c.answer("GET"), 504, "first_byte_timeout")
		c.send(w.on("GET", "/other"))
		if a := c.answer("GET"); a.StatusCode != 200 {
			t.Errorf("got %d", a.StatusCode)
		}
	})
}

func TestStreamClocks(t *testing.T) {
	t.Parallel()
	s := newStages()
	plane := startPlane(t)
	origin := startOrigin(t, s)
	for _, test := range []struct{ name, env string }{
		{"idle", "STREAM_IDLE_TIMEOUT_SECONDS=1"},
		{"total", "STREAM_MAX_SECONDS=1"},
	} {
		e := startEdge(t, plane, test.env)
		cred := plane.create(t, "")
		startAgent(t, e, cred, origin)
		for _, path := range []string{"/chunked", "/length"} {
			t.Run(test.name+path, func(t *testing.T) {
				began := time.Now()
				res, err := client.Do(request(t.Context(), t, http.MethodGet, e.path(cred, path), nil))
				if err != nil {
					t.Fatal(err)
				}
				defer func() { _ = res.Body.Close() }()
				if body, err := io.ReadAll(res.Body); err == nil || string(body) != "begin" {
					t.Errorf("got %q, %v; want the beginning and an error", body, err)
				}
				wantWithin(t, "the cut", began, time.Second)
				receive(t, "the origin sees the end", s.ended)
			})
		}
		t.Run(test.name+" while uploading", func(t *testing.T) {
			c := dialRaw(t, e)
			began := time.Now()
			c.send("POST /local_tunnel/" + string(cred.slug) + "/upload HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nx")
			a := c.answer("POST")
			if want := map[string]string{"idle": "bad_request", "total": "first_byte_timeout"}[test.name]; a.Header.Get("Bindu-Edge-Error") != want {
				t.Errorf("got %d %q, want %q", a.StatusCode, a.Header.Get("Bindu-Edge-Error"), want)
			}
			wantWithin(t, "the cut", began, time.Second)
			receive(t, "the origin sees the end", s.ended)
		})
	}
}

func TestCallerStall(t *testing.T) {
	t.Parallel()
	s := newStages()
	w := startWorld(t, s, "CALLER_STALL_SECONDS=2")
	t.Run("stalled over HTTP/1.1", func(t *testing.T) {
		t.Parallel()
		c := dialRaw(t, w.edge)
		c.narrow()
		c.send(w.on("GET", "/endless"))
		c.head("GET")
		began := time.Now()
		receive(t, "the origin sees the end", s.ended)
		if took := time.Since(began); took < 1500*time.Millisecond {
			t.Errorf("cut after %s", took)
		}
		if c.ended() == nil {
			t.Error("the answer seems to end well")
		}
	})
	t.Run("stalled over HTTP/2", func(t *testing.T) {
		t.Parallel()
		other := newStages()
		cred := w.plane.create(t, "")
		startAgent(t, w.edge, cred, startOrigin(t, other))
		res, err := callerH2(t).Do(request(t.Context(), t, http.MethodGet, w.edge.path(cred, "/endless"), nil))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = res.Body.Close() }()
		receive(t, "the origin sees the end", other.ended)
		if _, err := io.Copy(io.Discard, res.Body); err == nil {
			t.Error("the answer seems to end well")
		}
	})
	t.Run("slow but reading", func(t *testing.T) {
		t.Parallel()
		other := newStages()
		cred := w.plane.create(t, "")
		startAgent(t, w.edge, cred, startOrigin(t, other))
		c := dialRaw(t, w.edge)
		c.narrow()
		c.send("GET /local_tunnel/" + string(cred.slug) + "/endless HTTP/1.1\r\nHost: x\r\n\r\n")
		c.head("GET")
		part := make([]byte, 10_000)
		for range 25 { // 50 KB a second, 5 s
			<-time.After(200 * time.Millisecond)
			if _, err := io.ReadFull(c.read, part); err != nil {
				t.Fatalf("cut although it reads: %v", err)
			}
		}
	})
}

func TestKeepAliveComments(t *testing.T) {
	t.Parallel()
	w := startWorld(t, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
		switch r.URL.Path {
		case "/encoded":
			rw.Header().Set("Content-Encoding", "gzip")
		case "/no-transform":
			rw.Header().Set("Cache-Control", "no-cache, no-transform")
		case "/length":
			rw.Header().Set("Content-Length", "31")
		case "/other":
			rw.Header().Set("Content-Type", "text/plain")
		}
		rc := http.NewResponseController(rw)
		for _, part := range []string{"data: one\n\n", "data: t", "wo\n\ndata: 3\n\n"} {
			_, _ = io.WriteString(rw, part)
			_ = rc.Flush()
			<-time.After(1500 * time.Millisecond)
		}
	}), "SSE_KEEPALIVE_SECONDS=1")
	const plain = "data: one\n\ndata: two\n\ndata: 3\n\n"
	for _, test := range []struct {
		path string
		want string
	}{
		// In the middle of "data: two" stands none.
		{"/events", "data: one\n\n: keep-alive\n\ndata: two\n\ndata: 3\n\n: keep-alive\n\n"},
		{"/encoded", plain},
		{"/no-transform", plain},
		{"/other", plain},
	} {
		t.Run(test.path, func(t *testing.T) {
			t.Parallel()
			if a := get(t, w.url(test.path)); a.body != test.want {
				t.Errorf("got %q, want %q", a.body, test.want)
			}
		})
	}
	t.Run("/length", func(t *testing.T) {
		t.Parallel()
		if a := get(t, w.url("/length")); strings.Contains(a.body, "keep-alive") {
			t.Errorf("got %q", a.body)
		}
	})
	t.Run("at once when silent from the start", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		res, err := client.Do(request(ctx, t, http.MethodGet, w.url("/events"), nil))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = res.Body.Close() }()
		if line, err := bufio.NewReader(res.Body).ReadString('\n'); err != nil || line != "data: one\n" {
			t.Errorf("got %q, %v", line, err)
		}
	})
}

// half a header is closed after 10 s, whatever is sent.
func TestHalfAHeader(t *testing.T) {
	t.Parallel()
	e := startEdge(t, nil, "EPHEMERAL_TUNNELS=true")
	for _, test := range []struct{ name, text string }{
		{"a few bytes", "GET /local"},
		{"all but the end", "GET / HTTP/1.1\r\nHost: x\r\nX-A: b\r\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c := dialRaw(t, e)
			began := time.Now()
			c.send(test.text)
			if err := c.ended(); err != nil && errors.Is(err, context.DeadlineExceeded) {
				t.Error(err)
			}
			took := time.Since(began)
			if took < 9*time.Second || took > 13*time.Second {
				t.Errorf("closed after %s", took)
			}
		})
	}
}
