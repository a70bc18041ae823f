package e2e

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/google/go-cmp/cmp"
)

// Whatever passes on the pod that holds a tunnel passes at the door of another,
// byte for byte and at once, over each carrier.
func TestPodsCarry(t *testing.T) {
	t.Parallel()
	for _, carrier := range carriers {
		t.Run(carrier, func(t *testing.T) {
			t.Parallel()
			gone, let := make(chan struct{}, 10), make(chan struct{}, 10)
			w := startRelayed(t, carrier, everyKind(gone, let), "MAX_REQUEST_BODY_BYTES=0")
			t.Run("the request as it was", func(t *testing.T) { carriesHeader(t, w) })
			t.Run("bodies", func(t *testing.T) { carriesBodies(t, w) })
			t.Run("events", func(t *testing.T) { carriesEvents(t, w, let) })
			t.Run("WebSocket", func(t *testing.T) { carriesSocket(t, w, gone) })
			t.Run("trailers", func(t *testing.T) { carriesTrailers(t, w) })
			t.Run("Expect", func(t *testing.T) { carriesExpect(t, w) })
			t.Run("a caller that leaves", func(t *testing.T) { carriesCancel(t, w, gone) })
		})
	}
}

// everyKind is an origin with something of each kind. let is for one event each;
// gone gets one for each socket and each silent request that its caller left.
func everyKind(gone chan<- struct{}, let <-chan struct{}) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/header", showHeader)
	mux.HandleFunc("/mirror", mirror)
	mux.Handle("/size/", http.StripPrefix("/size", http.HandlerFunc(sizes)))
	mux.HandleFunc("/trailers", trailersOrigin)
	mux.HandleFunc("/socket", sockets(gone))
	mux.HandleFunc("/events", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for i := range 5 {
			_, _ = fmt.Fprintf(w, "data: %d\n\n", i)
			_ = http.NewResponseController(w).Flush()
			select {
			case <-let:
			case <-r.Context().Done():
				return
			}
		}
	})
	mux.HandleFunc("/silent", func(_ http.ResponseWriter, r *http.Request) {
		gone <- struct{}{}
		<-r.Context().Done()
		gone <- struct{}{}
	})
	mux.HandleFunc("/refuse", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = io.WriteString(w, "no")
	})
	return mux
}

// carriesHeader compares what the agent's server sees of a request at either door.
func carriesHeader(t *testing.T, w *relayed) {
	see := func(at *edge) http.Header {
		req := request(t.Context(), t, http.MethodGet, at.path(w.cred, "/header"), nil)
		req.Host = "public.example"
		req.Header = http.Header{
			"X-Request-Id": {"mine"}, "X-Twice": {"1", "2"}, "User-Agent": {"caller"}, "Accept-Encoding": {"br"},
			"Bindu-Hop-Tunnel": {"another"}, "Bindu-Hop-Caller": {"9.9.9.9"}, "Traceparent": {"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"},
		}
		a := do(t, req)
		if a.StatusCode != 200 || a.Header.Get("X-Request-Id") != "mine" {
			t.Fatalf("%d %v", a.StatusCode, a.Header)
		}
		for name := range a.Header {
			if strings.HasPrefix(name, "Bindu-") {
				t.Errorf("the caller sees %s", name)
			}
		}
		seen := seenHeader(t, a)
		seen.Del("Traceparent") // the door is a span of its own
		return seen
	}
	if diff := cmp.Diff(see(w.owner), see(w.edge)); diff != "" {
		t.Errorf("at the pod that holds the tunnel - at another +\n%s", diff)
	}
}

func carriesBodies(t *testing.T, w *relayed) {
	for _, size := range []int{0, 1, 64<<10 + 1, 3 << 20} {
		for _, known := range []bool{true, false} {
			content := noise(size)
			var body io.Reader = strings.NewReader(string(content))
			if !known {
				body = io.MultiReader(body)
			}
			a := do(t, request(t.Context(), t, http.MethodPost, w.url("/mirror"), body))
			if a.StatusCode != 200 || a.body != string(content) {
				t.Errorf("%d bytes, length known %v: got %d with %d bytes", size, known, a.StatusCode, len(a.body))
			}
		}
	}
	const large = 50 << 20
	res, err := client.Do(request(t.Context(), t, http.MethodGet, w.url(fmt.Sprint("/size/", large)), nil))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	h := sha256.New()
	n, err := hashed(h, res.Body)
	if got := hex.EncodeToString(h.Sum(nil)); err != nil || n != large || got != res.Trailer.Get("X-Sum") {
		t.Errorf("download: %d bytes came, %v; sums %s and %s", n, err, got, res.Trailer.Get("X-Sum"))
	}
	h = sha256.New()
	req := request(t.Context(), t, http.MethodPost, w.url("/size/"), io.TeeReader(newPattern(large), h))
	req.ContentLength = large
	if got, want := do(t, req), fmt.Sprintf("%d %x", large, h.Sum(nil)); got.body != want {
		t.Errorf("upload: got %d %s, want %s", got.StatusCode, got.body, want)
	}
}

// carriesEvents lets an event go only when the one before has come.
func carriesEvents(t *testing.T, w *relayed, let chan<- struct{}) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	res, err := client.Do(request(ctx, t, http.MethodGet, w.url("/events"), nil))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	for i := range 5 {
		want := fmt.Sprintf("data: %d\n\n", i)
		got := make([]byte, len(want))
		if _, err := io.ReadFull(res.Body, got); err != nil || string(got) != want {
			t.Fatalf("got %q, %v, want %q", got, err, want)
		}
		let <- struct{}{}
	}
	if rest, err := io.ReadAll(res.Body); err != nil || len(rest) > 0 {
		t.Errorf("the end: %q, %v", rest, err)
	}
}

func carriesSocket(t *testing.T, w *relayed, gone <-chan struct{}) {
	c := dialSocket(t, w.url("/socket"))
	c.SetReadLimit(4 << 20)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for _, size := range []int{0, 1, 1 << 20} {
		want := noise(size)
		if err := c.Write(ctx, websocket.MessageBinary, want); err != nil {
			t.Fatal(err)
		}
		if _, got, err := c.Read(ctx); err != nil || string(got) != string(want) {
			t.Fatalf("%d bytes came of %d, %v", len(got), size, err)
		}
	}
	if err := c.Close(websocket.StatusNormalClosure, "bye"); err != nil {
		t.Errorf("close: %v", err)
	}
	receive(t, "the origin's socket ends", gone)
}

func carriesTrailers(t *testing.T, w *relayed) {
	req := request(t.Context(), t, http.MethodPost, w.url("/trailers"), io.MultiReader(strings.NewReader("body")))
	req.Trailer = http.Header{"X-Sum": nil}
	req.Body = &atEnd{ReadCloser: req.Body, end: func() { req.Trailer.Set("X-Sum", "abc") }}
	a := do(t, req)
	if a.body != "X-Sum=abc\n" {
		t.Errorf("the origin saw %q", a.body)
	}
	want := http.Header{"X-Declared": {"one"}, "X-Second": {"two"}, "X-Undeclared": {"three"}}
	if diff := cmp.Diff(want, a.Trailer); diff != "" {
		t.Errorf("trailers: want - got +\n%s", diff)
	}
}

func carriesExpect(t *testing.T, w *relayed) {
	c := dialRaw(t, w.edge)
	c.send(w.on("POST", "/refuse", "Content-Length: 1000000", "Expect: 100-continue"))
	if a := c.answer("POST"); a.StatusCode != 401 || a.body != "no" {
		t.Errorf("a refusal: %d %q", a.StatusCode, a.body)
	}
	c = dialRaw(t, w.edge)
	c.send(w.on("POST", "/mirror", "Content-Length: 5", "Expect: 100-continue"))
	if res := c.head("POST"); res.StatusCode != 100 {
		t.Fatalf("%d before the body was sent", res.StatusCode)
	}
	c.send("hello")
	if a := c.answer("POST"); a.StatusCode != 200 || a.body != "hello" {
		t.Errorf("an acceptance: %d %q", a.StatusCode, a.body)
	}
}

func carriesCancel(t *testing.T, w *relayed, gone <-chan struct{}) {
	ctx, cancel := context.WithCancel(t.Context())
	left := ask(request(ctx, t, http.MethodGet, w.url("/silent"), nil))
	receive(t, "the request arrives", gone)
	cancel()
	began := time.Now()
	receive(t, "the origin hears that its caller has left", gone)
	wantWithin(t, "hearing of it", began, time.Second)
	receive(t, "the caller's own end", left)
}
