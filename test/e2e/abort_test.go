package e2e

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"testing"
	"time"
)

// stages is an origin that says how far it is and when its request was ended.
type stages struct {
	reached chan string
	ended   chan struct{}
}

func newStages() *stages { return &stages{make(chan string, 100), make(chan struct{}, 100)} }

func (s *stages) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	defer func() { s.ended <- struct{}{} }()
	switch r.URL.Path {
	case "/upload":
		b := make([]byte, 1)
		_, _ = io.ReadFull(r.Body, b)
		s.reached <- "upload"
		_, _ = io.Copy(io.Discard, r.Body)
	case "/wait":
		_, _ = io.Copy(io.Discard, r.Body)
		s.reached <- "wait"
		<-r.Context().Done()
	case "/chunked", "/length":
		if r.URL.Path == "/length" {
			w.Header().Set("Content-Length", "1000000")
		}
		_, _ = io.WriteString(w, "begin")
		_ = http.NewResponseController(w).Flush()
		s.reached <- "answer"
		<-r.Context().Done()
	case "/endless":
		s.reached <- "answer"
		block := noise(32 << 10)
		for r.Context().Err() == nil {
			if _, err := w.Write(block); err != nil {
				return
			}
		}
	}
}

func TestCallerGone(t *testing.T) {
	t.Parallel()
	s := newStages()
	w := startWorld(t, s)
	h2 := callerH2(t)
	for _, test := range []struct {
		name, method, path string
		body               bool
	}{
		{"while it waits", "GET", "/wait", false},
		{"while it downloads", "GET", "/chunked", false},
		{"while it downloads at full speed", "GET", "/endless", false},
		{"while it uploads", "POST", "/upload", true},
	} {
		for _, c := range []struct {
			name   string
			client *http.Client
		}{{"HTTP1", client}, {"HTTP2", h2}} {
			t.Run(c.name+"/"+test.name, func(t *testing.T) {
				ctx, leave := context.WithCancel(t.Context())
				defer leave()
				var body io.Reader
				r, up := io.Pipe()
				if test.body {
					go func() { _, _ = up.Write([]byte("x")) }() // and then nothing
					body = r
				}
				done := make(chan struct{})
				req := request(ctx, t, test.method, w.url(test.path), body)
				go func() {
					defer close(done)
					res, err := c.client.Do(req)
					if err != nil {
						return
					}
					_, _ = io.Copy(io.Discard, res.Body)
					_ = res.Body.Close()
				}()
				receive(t, "the request arrives", s.reached)
				began := time.Now()
				leave()
				receive(t, "the origin sees the end", s.ended)
				wantWithin(t, "the origin's notice", began, time.Second)
				_ = up.Close() // net/http's own caller waits for that
				receive(t, "the caller returns", done)
			})
		}
	}
}

func TestAgentKilled(t *testing.T) {
	t.Parallel()
	s := newStages()
	plane := startPlane(t)
	e := startEdge(t, plane, "RECONNECT_GRACE_SECONDS=0")
	cred := plane.create(t, "")
	agent := startAgent(t, e, cred, startOrigin(t, s))
	h2 := callerH2(t)
	type result struct {
		res  *http.Response
		body []byte
		err  error
	}
	begun := make(chan struct{}, 10)
	start := func(c *http.Client, path string, body io.Reader) <-chan result {
		done := make(chan result, 1)
		method := http.MethodGet
		if body != nil {
			method = http.MethodPost
		}
		req := request(t.Context(), t, method, e.path(cred, path), body)
		go func() {
			res, err := c.Do(req)
			if err != nil {
				done <- result{err: err}
				return
			}
			defer func() { _ = res.Body.Close() }()
			first := make([]byte, 5)
			_, _ = io.ReadFull(res.Body, first)
			begun <- struct{}{}
			text, err := io.ReadAll(res.Body)
			done <- result{res, append(first, text...), err}
		}()
		if receive(t, "the request arrives", s.reached) == "answer" {
			receive(t, "the answer begins", begun)
		}
		return done
	}
	stalled, up := io.Pipe()
	defer func() { _ = up.Close() }()
	go func() { _, _ = up.Write([]byte("x")) }()
	waiting := map[string]<-chan result{
		"HTTP1 waits":        start(client, "/wait", nil),
		"HTTP2 waits":        start(h2, "/wait", nil),
		"HTTP1 posted":       start(client, "/wait", bytes.NewReader(noise(100_000))),
		"HTTP1 upload stuck": start(client, "/upload", stalled),
	}
	answered := map[string]<-chan result{
		"HTTP1 chunked": start(client, "/chunked", nil),
		"HTTP1 length":  start(client, "/length", nil),
		"HTTP2 chunked": start(h2, "/chunked", nil),
		"HTTP2 length":  start(h2, "/length", nil),
	}
	agent.kill()
	began := time.Now()
	for name, c := range waiting {
		r := receive(t, name, c)
		if r.err != nil {
			t.Errorf("%s: %v", name, r.err)
			continue
		}
		wantError(t, answer{r.res, string(r.body)}, 502, "link_lost")
	}
	for name, c := range answered {
		if r := receive(t, name, c); r.err == nil || r.res == nil || string(r.body) != "begin" {
			t.Errorf("%s: %q, %v; want the beginning and an error", name, r.body, r.err)
		}
	}
	wantWithin(t, "all ends", began, time.Second)
	wantError(t, get(t, e.path(cred, "/wait")), 503, "tunnel_offline")
}

// An origin that dies in the middle of an answer must not look like its end.
func TestOriginDies(t *testing.T) {
	t.Parallel()
	w := startWorld(t, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/length" {
			rw.Header().Set("Content-Length", "1000000")
		}
		if r.URL.Path != "/before" {
			_, _ = io.WriteString(rw, "begin")
			_ = http.NewResponseController(rw).Flush()
		}
		panic(http.ErrAbortHandler)
	}))
	for _, c := range []struct {
		name   string
		client *http.Client
	}{{"HTTP1", client}, {"HTTP2", callerH2(t)}} {
		for _, path := range []string{"/chunked", "/length"} {
			t.Run(c.name+path, func(t *testing.T) {
				res, err := c.client.Do(request(t.Context(), t, http.MethodGet, w.url(path), nil))
				if err != nil {
					t.Fatal(err)
				}
				defer func() { _ = res.Body.Close() }()
				if body, err := io.ReadAll(res.Body); err == nil || string(body) != "begin" {
					t.Errorf("got %q, %v; want the beginning and an error", body, err)
				}
			})
		}
	}
	t.Run("before it answers", func(t *testing.T) {
		wantError(t, get(t, w.url("/before")), 502, "local_service_unreachable")
	})
}
