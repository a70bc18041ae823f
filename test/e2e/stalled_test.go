package e2e

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// An upload whose origin does not read fills its own window and nobody else's.
func TestStalledUploads(t *testing.T) {
	t.Parallel()
	let := make(chan struct{})
	arrived := make(chan struct{}, 100)
	w := startPlainWorld(t, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/stall" {
			mirror(rw, r)
			return
		}
		arrived <- struct{}{}
		select {
		case <-let:
		case <-r.Context().Done():
		}
	}), "MAX_REQUEST_BODY_BYTES=0")
	defer close(let)

	content := noise(4 * mib) // more than a window
	var sent atomic.Int64
	stalled := 0
	for _, n := range []int{1, 100} {
		for ; stalled < n; stalled++ {
			c := dialRaw(t, w.edge)
			_ = c.SetDeadline(time.Time{})
			c.send(w.on("POST", "/stall", "Content-Length: 1000000000"))
			go func() { // ends with the connection
				for {
					n, err := c.Write(content[:64<<10])
					sent.Add(int64(n))
					if err != nil {
						return
					}
				}
			}()
			receive(t, "the upload begins", arrived)
		}
		wantStill(t, fmt.Sprintf("%d uploads stand still", n), &sent, 1)
		t.Logf("%d stalled uploads took %d KiB each", n, sent.Load()/int64(n)>>10)
		got := do(t, request(t.Context(), t, http.MethodPost, w.url("/"), strings.NewReader(string(content))))
		if got.StatusCode != http.StatusOK || got.Header.Get("X-Sum") != sum(content) || got.body != string(content) {
			t.Errorf("beside %d stalled uploads another one got %d, %d bytes", n, got.StatusCode, len(got.body))
		}
	}
}

// wantStill waits until a counter that has come to least stands still for a while.
func wantStill(t *testing.T, what string, counter *atomic.Int64, least int64) {
	t.Helper()
	last, since := int64(0), time.Now()
	eventually(t, what, func() bool {
		if now := counter.Load(); now != last || now < least {
			last, since = now, time.Now()
		}
		return time.Since(since) > time.Second
	})
}

// Callers who ask for a huge download and read nothing cost the edge a window
// each at most, for as long as they are there, and cost others nothing.
func TestSilentCallers(t *testing.T) {
	t.Parallel()
	const callers, each = 200, mib
	var sent atomic.Int64
	w := startPlainWorld(t, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/endless" {
			echo(rw, r)
			return
		}
		for block := noise(32 << 10); ; {
			n, err := rw.Write(block)
			sent.Add(int64(n))
			if err != nil {
				return
			}
		}
	}), "CALLER_STALL_SECONDS=300")
	before := w.edge.metrics(true)
	resident := w.edge.memory("VmRSS")

	silent := make([]net.Conn, callers)
	for i := range silent {
		c := dialRaw(t, w.edge)
		c.narrow()
		c.send(w.on("GET", "/endless"))
		silent[i] = c
	}
	wantStill(t, "all downloads stand still, each after 256 KiB or more", &sent, callers*256<<10)
	for i := range 200 {
		path := fmt.Sprint("/other/", i)
		ctx := t.Context()
		got := receive(t, "an answer beside silent callers", ask(request(ctx, t, http.MethodGet, w.url(path), nil)))
		if got.err != nil || got.StatusCode != http.StatusOK || got.Header.Get("X-Uri") != path {
			t.Fatalf("request %d beside silent callers: %v %+v", i, got.err, got.Response)
		}
	}
	grown := w.edge.memory("VmRSS") - resident
	now := w.edge.metrics(true)
	t.Logf("%d silent callers: the edge has %d KiB more for each, %.0f KiB of it live heap", callers,
		grown/callers>>10, (now["go_memstats_heap_alloc_bytes"]-before["go_memstats_heap_alloc_bytes"])/callers/1024)
	if grown > callers*each {
		t.Errorf("the edge has grown by %d bytes, allowed are %d", grown, callers*each)
	}

	for _, c := range silent {
		_ = c.Close()
	}
	eventually(t, "what silent callers cost is given back", func() bool {
		now := w.edge.metrics(true)
		return now["go_memstats_heap_alloc_bytes"] < before["go_memstats_heap_alloc_bytes"]+2*mib &&
			now["go_goroutines"] <= before["go_goroutines"]+2
	})
}

// What is alive is never cut, however long it takes: the clocks of silence run
// only in silence.
func TestAliveIsNeverCut(t *testing.T) {
	t.Parallel()
	const steps, pause = 15, 400 * time.Millisecond // longer than silence may last
	trickle := func(w io.Writer, flush func() error) error {
		for i := range steps {
			if _, err := fmt.Fprintf(w, "data: %d\n\n", i); err != nil {
				return err
			}
			if err := flush(); err != nil {
				return err
			}
			<-time.After(pause)
		}
		return nil
	}
	gone := make(chan struct{}, 1)
	socket := sockets(gone)
	w := startWorld(t, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/events":
			rw.Header().Set("Content-Type", "text/event-stream")
			_ = trickle(rw, http.NewResponseController(rw).Flush)
		case "/socket":
			socket(rw, r)
		default:
			mirror(rw, r)
		}
	}), "REQUEST_TIMEOUT_SECONDS=4", "STREAM_IDLE_TIMEOUT_SECONDS=4", "CALLER_STALL_SECONDS=4", "SSE_KEEPALIVE_SECONDS=0")
	want := new(strings.Builder)
	for i := range steps {
		_, _ = fmt.Fprintf(want, "data: %d\n\n", i)
	}
	t.Run("event stream", func(t *testing.T) {
		t.Parallel()
		if got := get(t, w.url("/events")); got.body != want.String() {
			t.Errorf("got %q", got.body)
		}
	})
	t.Run("slow upload", func(t *testing.T) {
		t.Parallel()
		body, up := io.Pipe()
		go func() { _ = up.CloseWithError(trickle(up, func() error { return nil })) }()
		if got := do(t, request(t.Context(), t, http.MethodPost, w.url("/"), body)); got.body != want.String() {
			t.Errorf("got %d %q", got.StatusCode, got.body)
		}
	})
	t.Run("silent WebSocket", func(t *testing.T) { // an upgraded stream has no clock unless a setting says so
		t.Parallel()
		conn := dialSocket(t, w.url("/socket"))
		for range 2 {
			if err := conn.Write(t.Context(), 1, []byte("hello")); err != nil {
				t.Fatal(err)
			}
			if _, got, err := conn.Read(t.Context()); err != nil || string(got) != "hello" {
				t.Fatalf("got %q, %v", got, err)
			}
			<-time.After(5 * time.Second)
		}
	})
}
