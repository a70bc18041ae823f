package e2e

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
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
		c.send("GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n") // which has no clock
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
		{"idle", "STREAM_IDLE_TIMEOUT_SECONDS=2"},
		{"total", "STREAM_MAX_SECONDS=2"}, // in which the answer has to begin
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
				wantWithin(t, "the cut", began, 2*time.Second)
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
			wantWithin(t, "the cut", began, 2*time.Second)
			receive(t, "the origin sees the end", s.ended)
		})
	}
}

func TestCallerStall(t *testing.T) {
	t.Parallel()
	const stall = 4 * time.Second
	s := newStages()
	w := startWorld(t, s, fmt.Sprint("CALLER_STALL_SECONDS=", stall.Seconds()))
	t.Run("stalled over HTTP/1.1", func(t *testing.T) {
		t.Parallel()
		c := dialRaw(t, w.edge)
		c.narrow()
		began := time.Now() // before any of the clocks
		c.send(w.on("GET", "/endless"))
		c.head("GET")
		receive(t, "the origin sees the end", s.ended)
		if took := time.Since(began); took < stall {
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
		for range 30 { // 50 KB a second, longer than the clock
			<-time.After(200 * time.Millisecond)
			if _, err := io.ReadFull(c.read, part); err != nil {
				t.Fatalf("cut although it reads: %v", err)
			}
		}
	})
}

func TestKeepAliveComments(t *testing.T) {
	t.Parallel()
	heard := make(chan struct{}, 2) // a comment after /events
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
		for i, part := range []string{"data: one\n\n", "data: t", "wo\n\ndata: 3\n\n"} {
			_, _ = io.WriteString(rw, part)
			_ = rc.Flush()
			if r.URL.Path == "/events" && i != 1 {
				select {
				case <-heard:
				case <-r.Context().Done():
				}
				continue
			}
			<-time.After(1500 * time.Millisecond)
		}
	}), "SSE_KEEPALIVE_SECONDS=1")
	const plain = "data: one\n\ndata: two\n\ndata: 3\n\n"
	for _, path := range []string{"/encoded", "/no-transform", "/other"} {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			if a := get(t, w.url(path)); a.body != plain {
				t.Errorf("got %q, want %q", a.body, plain)
			}
		})
	}
	t.Run("/events", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		began := time.Now()
		res, err := client.Do(request(ctx, t, http.MethodGet, w.url("/events"), nil))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = res.Body.Close() }()
		comments := map[int]int{} // by the number of events before
		var events []string
		lines := bufio.NewScanner(res.Body)
		for lines.Scan() {
			line := lines.Text()
			if !lines.Scan() || lines.Text() != "" {
				t.Fatalf("%q stands before %q", line, lines.Text())
			}
			if line != ": keep-alive" {
				events = append(events, line)
			} else if comments[len(events)]++; comments[len(events)] == 1 {
				heard <- struct{}{}
			}
		}
		if err := lines.Err(); err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff([]string{"data: one", "data: two", "data: 3"}, events); diff != "" { // in whose middle stands none
			t.Errorf("events (-want +got):\n%s", diff)
		}
		if n, most := comments[1]+comments[3], int(time.Since(began)/time.Second); len(comments) != 2 || n < 2 || n > most {
			t.Errorf("comments %v, want one a second at most, after the first event and the last", comments)
		}
	})
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
		res, err := client.Do(request(ctx, t, http.MethodGet, w.url("/silent"), nil))
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
			began := time.Now()
			c := dialRaw(t, e)
			c.send(test.text)
			c.wantEnded()
			if took := time.Since(began); took < 9*time.Second {
				t.Errorf("closed after %s", took)
			}
			wantWithin(t, "the close", began, 10*time.Second)
		})
	}
}
