package relay

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/getbindu/bindu-edge/internal/fault"
	"github.com/getbindu/bindu-edge/internal/h2"
)

// What waits at the holder's end of a hop for agents that don't take it counts in
// its budget. An upload that is cut is told so by its code, and one that is taken
// goes on.
func TestUploadsUnderABudget(t *testing.T) {
	t.Parallel()
	const room, all = 2, 6
	l := newPipeListener()
	s := NewServer(ServerOptions{
		Pod: holder, Identity: secret(t, ours), Budget: h2.NewBudget(room * uploadWindow),
		Links: fakeLinks{func(r *http.Request) (*http.Response, error) {
			if r.Header.Get("Taken") != "" {
				n, err := io.Copy(io.Discard, r.Body)
				if err != nil || n != 4<<20 {
					t.Errorf("the agent got %d bytes, %v", n, err)
				}
				return text("all")(r)
			}
			<-r.Context().Done()
			_ = r.Body.Close()
			return nil, context.Cause(r.Context())
		}},
	})
	var serving sync.WaitGroup
	serving.Go(func() { _ = s.Serve(l) })
	c := NewClient(Options{Pod: door, Dialer: l, Identity: secret(t, ours)})
	send := func(ctx context.Context, taken string, body io.Reader) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://public.example/", body)
		if err != nil {
			return err
		}
		if taken != "" {
			req.Header.Set("Taken", taken)
		}
		res, err := c.To(holder, "t").RoundTrip(req)
		if err == nil {
			_ = res.Body.Close()
		}
		return err
	}
	ctx, leave := context.WithTimeout(t.Context(), time.Minute) // so that a failure ends
	results := make(chan error, all)
	for range all {
		go func() { results <- send(ctx, "", zeros{}) }()
	}
	// Those that were cut have an answer, and no others.
	for range all - room {
		if err := <-results; !errors.As(err, new(*fault.Error)) || fault.From(err).Code != fault.FirstByteTimeout {
			t.Errorf("one was cut with %v", err)
		}
	}
	if err := send(t.Context(), "yes", io.LimitReader(zeros{}, 4<<20)); err != nil {
		t.Errorf("one that is taken: %v", err)
	}
	if got := s.Inbound()[door]; got != 1 {
		t.Errorf("%d connections of the door are known, want 1", got)
	}
	leave()
	for range room {
		if err := <-results; err == nil {
			t.Error("one that nobody took was answered")
		}
	}
	c.Close()
	_ = s.Close()
	serving.Wait()
}
