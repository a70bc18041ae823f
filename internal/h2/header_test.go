package h2

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/getbindu/bindu-edge/internal/fault"
	"github.com/getbindu/bindu-edge/internal/wire"
)

// A header that is larger than the bound spoils one answer, as long as it is not
// larger than twice that. Up to the bound it is taken.
func TestHeaderBound(t *testing.T) {
	t.Parallel()
	own, _ := headerSize(http.Header{"X-Large": {""}})
	for _, row := range []struct {
		name  string
		limit int64 // 0: the usual one
		size  int   // of the header as the handler sets it
		want  fault.Code
	}{
		{"half of it", 0, wire.MaxResponseHeader / 2, ""},
		{"all of it", 0, wire.MaxResponseHeader, ""},
		{"one byte more", 0, wire.MaxResponseHeader + 1, fault.BadAgentResponse},
		{"nearly twice", 0, 2*wire.MaxResponseHeader - 1<<10, fault.BadAgentResponse},
		{"a larger bound", 2 * wire.MaxResponseHeader, 2 * wire.MaxResponseHeader, ""},
		{"a larger bound, one byte more", 2 * wire.MaxResponseHeader, 2*wire.MaxResponseHeader + 1, fault.BadAgentResponse},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			value := strings.Repeat("x", row.size-int(own))
			c := connect(t, Options{MaxResponseHeader: row.limit}, func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/small" {
					_, _ = io.WriteString(w, "small")
					return
				}
				w.Header()["Date"] = nil
				w.Header().Set("X-Large", value)
				w.WriteHeader(http.StatusNoContent)
			}, net.Pipe)
			res, err := c.RoundTrip(asking(t.Context(), t, "/"))
			if err != nil && fault.From(err).Code != row.want || err == nil && row.want != "" {
				t.Errorf("it failed with %v, want code %q", err, row.want)
			}
			if err == nil {
				if got := len(res.Header.Get("X-Large")); got != len(value) {
					t.Errorf("of %d bytes %d came", len(value), got)
				}
				_ = res.Body.Close()
			}
			if res, err = c.RoundTrip(asking(t.Context(), t, "/small")); err != nil {
				t.Fatalf("the connection afterwards: %v", err)
			}
			_ = res.Body.Close()
		})
	}
}

func asking(ctx context.Context, t testing.TB, path string) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://x"+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	return req
}

// writer is stuck in the header of an answer until it is cut.
type writer struct{ cut chan error }

func (w writer) Cut(cause error) { w.cut <- cause }

// Large headers count until their answers are closed, with a body or without. Over
// the limit those that nobody takes are cut, the oldest first, and who writes them is
// told. Small ones count nothing.
func TestLargeHeadersUnderABudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const size, room, all = 100 << 10, 8, 20
		const cost = size + fieldCost + len("X-Large")
		b := NewBudget(int64(room*cost + cost/2))
		var small atomic.Bool
		c := connect(t, Options{Budget: b}, func(w http.ResponseWriter, r *http.Request) {
			if !small.Load() {
				w.Header().Set("X-Large", strings.Repeat("x", size))
			}
			for _, name := range []string{"Date", "Content-Type", "Content-Length"} {
				w.Header()[name] = nil
			}
			if strings.HasSuffix(r.URL.Path, "1") {
				_, _ = io.WriteString(w, "body")
				_ = http.NewResponseController(w).Flush()
			}
		}, net.Pipe)
		var responses []*http.Response
		var writers []writer
		for i := range all {
			w := writer{make(chan error, 1)}
			res, err := c.RoundTrip(asking(fault.WithCutter(t.Context(), w), t, "/"+strconv.Itoa(i%2)))
			if err != nil {
				t.Fatal(err)
			}
			responses, writers = append(responses, res), append(writers, w)
			if held := b.held.Load(); i == 0 && held != int64(cost) {
				t.Errorf("one holds %d bytes, want %d", held, cost)
			}
			<-time.After(time.Millisecond)
		}
		<-time.After(2 * patience)
		synctest.Wait()
		if held := b.held.Load(); held > b.limit {
			t.Errorf("%d bytes are held, with room for %d", held, b.limit)
		}
		cut := 0
		for i, w := range writers {
			select {
			case err := <-w.cut:
				if cut++; i >= cut || !errors.Is(err, fault.ErrUnread) {
					t.Errorf("answer %d was cut with %v, and an older one was not", i, err)
				}
			default:
			}
			_ = responses[i].Body.Close()
			_ = responses[i].Body.Close()
		}
		if cut < all-room-1 || cut > all-room+1 {
			t.Errorf("%d of %d were cut, with room for %d", cut, all, room)
		}
		if held, unread := b.held.Load(), c.Unread(); held != 0 || unread != 0 {
			t.Errorf("%d bytes are held and %d unread when all is closed", held, unread)
		}
		small.Store(true)
		res, err := c.RoundTrip(asking(t.Context(), t, "/0"))
		if err != nil {
			t.Fatal(err)
		}
		if held, unread := b.held.Load(), c.Unread(); held != 0 || unread != 0 {
			t.Errorf("a small header holds %d bytes, %d unread", held, unread)
		}
		_ = res.Body.Close()
		res, err = c.RoundTrip(asking(t.Context(), t, "/1"))
		if err != nil {
			t.Fatal(err)
		}
		if unread := c.Unread(); unread != wire.StreamWindow {
			t.Errorf("a body below a small header has %d bytes unread", unread)
		}
		_ = res.Body.Close()
	})
}

// Reserve takes half of a budget, and counts until it is closed.
func TestReserve(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name string
		held int64 // by others
		n    int64
		fits bool
	}{
		{"all that may be taken", 0, 500, true},
		{"more", 0, 501, false},
		{"beside others", 300, 200, true},
		{"beside too much", 300, 201, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			b := NewBudget(1000)
			w := b.Whole()
			others := w.Keep(row.held)
			k, fits := w.Reserve(row.n)
			want := row.held
			if row.fits {
				want += row.n
			}
			if held := b.held.Load(); fits != row.fits || held != want {
				t.Errorf("it fits: %t, and %d are held; want %t, %d", fits, held, row.fits, want)
			}
			_, _ = k.Close(), others.Close()
			w.End()
			if held := b.held.Load(); held != 0 || len(b.meters) != 0 {
				t.Errorf("%d are held by %d when all is closed", held, len(b.meters))
			}
		})
	}
}

// An answer with trailers that are too large has no good end, and no trailers.
func TestTrailerBound(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name string
		size int
		want fault.Code
	}{
		{"all that is allowed", MaxTrailer, ""},
		{"one byte more", MaxTrailer + 1, fault.BadAgentResponse},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			value := strings.Repeat("x", row.size-fieldSize-len("X-Late"))
			c := connect(t, Options{}, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Trailer", "X-Late")
				_, _ = io.WriteString(w, "body")
				w.Header().Set("X-Late", value)
			}, net.Pipe)
			res := get(t, c)
			body, err := io.ReadAll(res.Body)
			if code := fault.From(err).Code; string(body) != "body" || err != nil && code != row.want || err == nil && row.want != "" {
				t.Errorf("body %q, %v; want code %q", body, err, row.want)
			}
			if got := res.Trailer.Get("X-Late"); row.want != "" && got != "" || row.want == "" && got != value {
				t.Errorf("a trailer of %d bytes came, of %d", len(got), len(value))
			}
			_ = res.Body.Close()
		})
	}
}
