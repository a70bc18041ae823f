package relaytest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
)

func bodies(t *testing.T, m Mesh) {
	way := hop(t, m, func(w http.ResponseWriter, r *http.Request) {
		if told := r.Header.Get("X-Told"); told != strconv.FormatInt(r.ContentLength, 10) {
			t.Errorf("the agent was told of %d bytes, want %s", r.ContentLength, told)
		}
		if expect := r.Header.Get("Expect"); expect != "" {
			t.Errorf("the agent saw Expect: %s, which nobody has sent", expect)
		}
		if r.ContentLength >= 0 {
			w.Header().Set("Content-Length", r.Header.Get("X-Told"))
		}
		_, _ = io.Copy(w, r.Body)
	})
	for _, n := range []int{0, 1, 64<<10 - 1, 64 << 10, 64<<10 + 1, 1 << 20, 16 << 20} {
		for _, known := range []bool{true, false} {
			t.Run(fmt.Sprintf("%d bytes, length known: %v", n, known), func(t *testing.T) {
				body := noise()[:n]
				req, told := request(t, http.MethodPost, "/", bytes.NewReader(body)), int64(n)
				if !known {
					req, told = request(t, http.MethodPost, "/", unknownLength{bytes.NewReader(body)}), -1
				}
				req.Header.Set("X-Told", strconv.FormatInt(told, 10))
				res, got := read(t, way, req, http.StatusOK)
				if !bytes.Equal(got, body) {
					t.Errorf("%d bytes came back, not the %d that were sent", len(got), n)
				}
				if known && res.ContentLength != told {
					t.Errorf("the answer told of %d bytes, want %d", res.ContentLength, told)
				}
			})
		}
	}
}

// An answer reaches a caller who is still sending.
func earlyAnswer(t *testing.T, m Mesh) {
	way := hop(t, m, func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "too much", http.StatusRequestEntityTooLarge)
	})
	want(t, way, request(t, http.MethodPost, "/", endless{}), http.StatusRequestEntityTooLarge, "too much\n")
}

// Each event arrives although the next one is sent only when it has, and the
// header before the first.
func events(t *testing.T, m Mesh) {
	seen := make(chan struct{})
	way := hop(t, m, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		w.WriteHeader(http.StatusOK)
		for n := range 20 {
			w.(http.Flusher).Flush()
			select {
			case <-seen:
			case <-r.Context().Done():
				return
			}
			_, _ = fmt.Fprintf(w, "data: %d\n\n", n)
		}
	})
	res, err := way.RoundTrip(request(t, http.MethodGet, "/", nil))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	if got := res.Header.Get("Content-Type"); got != "text/event-stream" {
		t.Errorf("Content-Type %q", got)
	}
	for n := range 20 {
		seen <- struct{}{}
		event := fmt.Sprintf("data: %d\n\n", n)
		got := make([]byte, len(event))
		if _, err := io.ReadFull(res.Body, got); err != nil || string(got) != event {
			t.Fatalf("read %q, %v, want %q", got, err, event)
		}
	}
	if rest, err := io.ReadAll(res.Body); len(rest) > 0 || err != nil {
		t.Errorf("the stream ended with %q, %v", rest, err)
	}
}

// All are under way at the same time, and each gets its own answer.
func manyStreams(t *testing.T, m Mesh) {
	const streams = 200
	var together, done sync.WaitGroup
	together.Add(streams)
	way := hop(t, m, func(w http.ResponseWriter, r *http.Request) {
		together.Done()
		together.Wait()
		_, _ = io.Copy(w, r.Body)
	})
	for n := range streams {
		done.Go(func() {
			body := strings.Repeat(fmt.Sprintf("%d,", n), 2000)
			want(t, way, request(t, http.MethodPost, fmt.Sprintf("/%d", n), strings.NewReader(body)), http.StatusOK, body)
		})
	}
	done.Wait()
}

const stalled = 50

// Callers who read nothing keep nobody else waiting.
func stalledCallers(t *testing.T, m Mesh) {
	way := hop(t, m, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/stall" {
			_, _ = io.Copy(w, endless{})
			return
		}
		echo(w, r)
	})
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	for range stalled {
		res, err := way.RoundTrip(request(t, http.MethodGet, "/stall", nil).WithContext(ctx))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = res.Body.Close() }()
		if _, err := io.ReadFull(res.Body, make([]byte, 1<<10)); err != nil {
			t.Fatal(err)
		}
	}
	body := string(noise()[:4<<20]) // more than any stream's window
	want(t, way, request(t, http.MethodPost, "/", strings.NewReader(body)), http.StatusOK, body)
}

// Agents who read nothing keep nobody else waiting.
func stalledUploads(t *testing.T, m Mesh) {
	release := make(chan struct{})
	var began, callers sync.WaitGroup
	began.Add(stalled)
	way := hop(t, m, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/stall" {
			began.Done()
			<-release
			return
		}
		echo(w, r)
	})
	ctx, leave := context.WithCancel(t.Context())
	for range stalled {
		callers.Go(func() {
			res, err := way.RoundTrip(request(t, http.MethodPost, "/stall", endless{}).WithContext(ctx))
			if err == nil {
				_ = res.Body.Close()
			} else if ctx.Err() == nil {
				t.Error(err)
			}
		})
	}
	began.Wait()
	body := string(noise()[:4<<20])
	want(t, way, request(t, http.MethodPost, "/", strings.NewReader(body)), http.StatusOK, body)
	leave()
	close(release)
	callers.Wait()
}
