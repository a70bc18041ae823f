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
)

func TestEventStream(t *testing.T) {
	t.Parallel()
	// An event that waits somewhere for the next one to push it is never seen.
	seen := map[string]chan struct{}{"/HTTP1": make(chan struct{}), "/HTTP2": make(chan struct{})}
	w := startWorld(t, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Content-Type", "text/event-stream")
		for i := range 15 {
			_, _ = fmt.Fprintf(rw, "data: %d\n\n", i)
			_ = http.NewResponseController(rw).Flush()
			select {
			case <-seen[r.URL.Path]:
			case <-r.Context().Done():
				return
			}
			<-time.After(time.Second)
		}
	}), "REQUEST_TIMEOUT_SECONDS=2", "SSE_KEEPALIVE_SECONDS=0") // a comment would push it, too
	for _, c := range []struct {
		name   string
		client *http.Client
	}{{"HTTP1", client}, {"HTTP2", callerH2(t)}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
			defer cancel()
			res, err := c.client.Do(request(ctx, t, http.MethodGet, w.url("/"+c.name), nil))
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = res.Body.Close() }()
			n := 0
			for lines := bufio.NewScanner(res.Body); lines.Scan(); {
				if lines.Text() == "" {
					continue
				}
				if want := fmt.Sprint("data: ", n); lines.Text() != want {
					t.Fatalf("event %d reads %q", n, lines.Text())
				}
				seen["/"+c.name] <- struct{}{}
				n++
			}
			if n != 15 {
				t.Errorf("%d events, want 15", n)
			}
		})
	}
}

// What the origin has sent must be there before it sends more.
func TestFirstByteAtOnce(t *testing.T) {
	t.Parallel()
	seen := make(chan struct{})
	w := startWorld(t, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		rc := http.NewResponseController(rw)
		if r.URL.Path == "/length" {
			rw.Header().Set("Content-Length", "10")
		}
		for _, part := range []string{"", "01", "23", "456789"} { // the header alone first
			_, _ = io.WriteString(rw, part)
			_ = rc.Flush()
			select {
			case <-seen:
			case <-r.Context().Done():
			}
		}
	}))
	for _, path := range []string{"/chunked", "/length"} {
		for _, c := range []struct {
			name   string
			client *http.Client
		}{{"HTTP1", client}, {"HTTP2", callerH2(t)}} {
			t.Run(c.name+path, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				defer cancel()
				res, err := c.client.Do(request(ctx, t, http.MethodGet, w.url(path), nil))
				if err != nil {
					t.Fatal(err)
				}
				defer func() { _ = res.Body.Close() }()
				seen <- struct{}{}
				for _, part := range []string{"01", "23", "456789"} {
					got := make([]byte, len(part))
					if _, err := io.ReadFull(res.Body, got); err != nil || string(got) != part {
						t.Fatalf("got %q, %v, want %q", got, err, part)
					}
					seen <- struct{}{}
				}
				if rest, err := io.ReadAll(res.Body); err != nil || len(rest) > 0 {
					t.Errorf("the end: %q, %v", rest, err)
				}
			})
		}
	}
}

// Each line goes up, comes back in capitals, and only then does the next go up.
func TestFullDuplex(t *testing.T) {
	t.Parallel()
	w := startWorld(t, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		rc := http.NewResponseController(rw)
		_ = rc.EnableFullDuplex()
		_ = rc.Flush()
		for lines := bufio.NewScanner(r.Body); lines.Scan(); {
			_, _ = io.WriteString(rw, strings.ToUpper(lines.Text())+"\n")
			_ = rc.Flush()
		}
	}))
	for _, c := range []struct {
		name   string
		client *http.Client
	}{{"HTTP1", client}, {"HTTP2", callerH2(t)}} {
		t.Run(c.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			body, up := io.Pipe()
			go func() { <-ctx.Done(); _ = up.CloseWithError(io.ErrUnexpectedEOF) }()
			res, err := c.client.Do(request(ctx, t, http.MethodPost, w.url("/"), body))
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = res.Body.Close() }()
			down := bufio.NewReader(res.Body)
			for i := range 20 {
				if _, err := fmt.Fprintf(up, "line %d\n", i); err != nil {
					t.Fatal(err)
				}
				if got, err := down.ReadString('\n'); err != nil || got != fmt.Sprintf("LINE %d\n", i) {
					t.Fatalf("line %d: %q, %v", i, got, err)
				}
			}
			_ = up.Close()
			if rest, err := io.ReadAll(down); err != nil || len(rest) > 0 {
				t.Errorf("the end: %q, %v", rest, err)
			}
		})
	}
}

// The clock of the first byte runs from the end of the upload.
func TestSlowUpload(t *testing.T) {
	t.Parallel()
	w := startWorld(t, http.HandlerFunc(mirror), "REQUEST_TIMEOUT_SECONDS=2")
	content := noise(50_000)
	body, up := io.Pipe()
	go func() {
		for part := range 10 { // 10 KB a second
			<-time.After(500 * time.Millisecond)
			if _, err := up.Write(content[part*5000 : (part+1)*5000]); err != nil {
				return
			}
		}
		_ = up.Close()
	}()
	a := do(t, request(t.Context(), t, http.MethodPost, w.url("/"), body))
	if a.StatusCode != 200 || a.Header.Get("X-Sum") != sum(content) {
		t.Errorf("got %d", a.StatusCode)
	}
}
