package link_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"testing"
	"testing/synctest"
	"time"

	"github.com/getbindu/bindu-edge/internal/fault"
	"github.com/getbindu/bindu-edge/internal/h2"
	"github.com/getbindu/bindu-edge/internal/link"
)

// queue asks l, whose agent reads nothing, for the requests that fit, of about size
// bytes each. It returns what became of the first that did not, and how many did.
func queue(ctx context.Context, t *testing.T, l *link.JSON, size, most int) (waiting []<-chan result, refused error) {
	t.Helper()
	for range most {
		r := ask(l, newRequest(t, http.MethodPost, "/", bytes.NewReader(bytes.Repeat([]byte("x"), size))).WithContext(ctx))
		synctest.Wait()
		select {
		case got := <-r:
			return waiting, got.err
		default:
			waiting = append(waiting, r)
		}
	}
	return waiting, nil
}

// What waits for an agent that doesn't read is bounded, on each link and by the
// budget of the pod. Beyond that a request is refused before its agent can have
// seen anything of it. Who leaves makes room.
func TestJSONRequestsThatNobodyTakes(t *testing.T) {
	t.Parallel()
	const size, slack = 60 << 10, 70 << 10 // a message's buffer may be somewhat larger, and no twice as large
	for _, row := range []struct {
		name        string
		budget      int64 // 0 = none
		least, most int   // bytes
		want        fault.Code
	}{
		{"no budget", 0, 2 << 20, 4 << 20, fault.ConcurrencyLimited},
		{"a large budget", 64 << 20, 2 << 20, 4 << 20, fault.ConcurrencyLimited},
		{"a budget", 3 << 20, 512 << 10, 256<<10 + 3<<19, fault.EdgeOverloaded},
		{"a budget that is used up", 1, 100 << 10, 256 << 10, fault.EdgeOverloaded},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var o link.JSONOptions
				if row.budget > 0 {
					o.Budget = h2.NewBudget(row.budget)
				}
				l, _ := meetJSON(t, o)
				ctx, leave := context.WithCancel(t.Context())
				waiting, err := queue(ctx, t, l, size, 100)
				if got := len(waiting) * size; got < row.least-slack || got > row.most {
					t.Errorf("%d bytes wait in %d requests, want %d to %d", got, len(waiting), row.least, row.most)
				}
				if e := fault.From(err); e.Code != row.want || !errors.Is(err, fault.ErrNotDelivered) || e.Retry() == 0 || e.Code.Status() != http.StatusServiceUnavailable {
					t.Errorf("one more: %v", err)
				}
				leave()
				for i, r := range waiting {
					if got := <-r; !errors.Is(got.err, context.Canceled) {
						t.Errorf("request %d: %v", i, got.err)
					}
				}
				again, err := queue(t.Context(), t, l, size, 100)
				if err == nil || len(again) < len(waiting)-1 || len(again) > len(waiting) {
					t.Errorf("after all have left %d fit, and before %d: %v", len(again), len(waiting), err)
				}
				l.Close(link.ReasonSilent)
				for i, r := range again {
					if got := <-r; got.err == nil {
						t.Errorf("request %d was answered", i)
					}
				}
			})
		})
	}
}

// Small requests are not refused for the large buffers that others have used.
func TestJSONManySmallRequestsWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		before, _ := meetJSON(t, link.JSONOptions{})
		ctx, leave := context.WithCancel(t.Context())
		large, _ := queue(ctx, t, before, 60<<10, 40)
		leave()
		for _, r := range large {
			<-r
		}
		l, _ := meetJSON(t, link.JSONOptions{Budget: h2.NewBudget(1)})
		small, err := queue(t.Context(), t, l, 10, 200)
		if len(small) != 200 {
			t.Errorf("%d small ones wait: %v", len(small), err)
		}
		l.Close(link.ReasonSilent)
		for _, r := range small {
			<-r
		}
	})
}

// The bound holds also for requests whose bodies came to their ends at once.
func TestJSONRequestsThatComeAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const all, size = 150, 60 << 10
		l, _ := meetJSON(t, link.JSONOptions{})
		begin := make(chan struct{})
		results := make(chan error, all)
		for range all {
			body := bytes.NewReader(bytes.Repeat([]byte("x"), size))
			go func() {
				_, err := l.RoundTrip(newRequest(t, http.MethodPost, "/", readerFunc(func(p []byte) (int, error) {
					<-begin
					return body.Read(p)
				})))
				results <- err
			}()
		}
		synctest.Wait()
		close(begin)
		synctest.Wait()
		refused := len(results)
		if most := 4 << 20 / size; all-refused > most || refused == all {
			t.Errorf("%d of %d wait, want at most %d", all-refused, all, most)
		}
		l.Close(link.ReasonSilent)
		for range all {
			if err := <-results; !errors.Is(err, fault.ErrNotDelivered) && codeOf(err) != fault.LinkLost {
				t.Error(err)
			}
		}
	})
}

// A message may be larger than what is bounded, and one of them fits in any case.
func TestJSONVeryLargeRequests(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l, _ := meetJSON(t, link.JSONOptions{MaxMessage: 8 << 20, Budget: h2.NewBudget(1 << 20)})
		waiting, err := queue(t.Context(), t, l, 6<<20, 3)
		if len(waiting) != 1 || codeOf(err) != fault.EdgeOverloaded {
			t.Errorf("%d wait: %v", len(waiting), err)
		}
		l.Close(link.ReasonSilent)
		for _, r := range waiting {
			<-r
		}
	})
}

// A body that would not fit is not read.
func TestJSONRefusedBodyIsNotRead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l, _ := meetJSON(t, link.JSONOptions{})
		waiting, _ := queue(t.Context(), t, l, 60<<10, 100)
		req := newRequest(t, http.MethodPost, "/", readerFunc(func([]byte) (int, error) {
			t.Error("the body was read")
			return 0, io.EOF
		}))
		req.ContentLength = 60 << 10
		if r := <-ask(l, req); codeOf(r.err) != fault.ConcurrencyLimited || !errors.Is(r.err, fault.ErrNotDelivered) {
			t.Errorf("it ended with %v", r.err)
		}
		req.ContentLength = 1 << 40
		if r := <-ask(l, req); codeOf(r.err) != fault.RequestTooLarge {
			t.Errorf("one that never fits ended with %v", r.err)
		}
		l.Close(link.ReasonSilent)
		for _, r := range waiting {
			<-r
		}
	})
}

// What was sent counts no more: an agent that reads gets as many as there are.
func TestJSONRequestsThatAreTaken(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l, a := meetJSON(t, link.JSONOptions{Budget: h2.NewBudget(1)})
		done := a.answering(func(m jsonRequest) string {
			return `{"type":"response","request_id":"` + m.RequestID + `","status":200}`
		})
		for i := range 300 {
			r := <-ask(l, newRequest(t, http.MethodPost, "/", bytes.NewReader(bytes.Repeat([]byte("x"), 40<<10))))
			if r.err != nil {
				t.Fatalf("request %d: %v", i, r.err)
			}
		}
		l.Close(link.ReasonDraining)
		done.Wait()
	})
}

// A request counts as handed over once it waits to be sent: the first-byte clock runs
// from then. Who was refused never was.
func TestJSONRequestThatWaitsIsHandedOver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l, _ := meetJSON(t, link.JSONOptions{})
		first, _ := queue(t.Context(), t, l, 10, 1)
		wrote := make(chan struct{})
		ctx, cancel := context.WithTimeout(httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
			WroteRequest: func(httptrace.WroteRequestInfo) { close(wrote) },
		}), time.Second)
		defer cancel()
		r := ask(l, newRequest(t, http.MethodGet, "/", nil).WithContext(ctx))
		<-wrote
		if got := <-r; !errors.Is(got.err, context.DeadlineExceeded) {
			t.Errorf("it ended with %v", got.err)
		}
		rest, _ := queue(t.Context(), t, l, 60<<10, 100)
		trace := &httptrace.ClientTrace{WroteRequest: func(httptrace.WroteRequestInfo) { t.Error("a refused request was handed over") }}
		if got := <-ask(l, newRequest(t, http.MethodPost, "/", bytes.NewReader(bytes.Repeat([]byte("x"), 60<<10))).WithContext(httptrace.WithClientTrace(t.Context(), trace))); !errors.Is(got.err, fault.ErrNotDelivered) {
			t.Errorf("the refused one: %v", got.err)
		}
		l.Close(link.ReasonSilent)
		for _, r := range append(first, rest...) {
			<-r
		}
	})
}
