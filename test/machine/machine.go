// Package machine tells how slow this machine was at a time, so that a test which
// holds a program against the clock need not take the machine's fault for the
// program's. It measures, and decides nothing: what a delay excuses is the test's
// own business. It is for tests alone.
package machine

import (
	"context"
	"crypto/sha256"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"time"
)

// Kept is how long a delay is remembered.
const Kept = 10 * time.Minute

// pause is between two questions.
const pause = 100 * time.Millisecond

// work is what a question costs: some 3 ms of a processor. Who asks for nothing is
// served before all who are busy, and sees nothing of them.
const work = 4 << 20

// Watch asks a server that has little to do, again and again. The zero value has
// asked nothing yet. Safe for concurrent use.
type Watch struct {
	mu     sync.Mutex
	delays []Delay   // oldest first
	asking time.Time // since when the question under way has no answer; zero: there is none
}

// Delay is how long the machine took for next to nothing: a connection, a little
// work, and the way back.
type Delay struct {
	From time.Time
	Took time.Duration
}

// Run measures until ctx ends.
func (w *Watch) Run(ctx context.Context) {
	bytes := make([]byte, work)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		sum := sha256.Sum256(bytes)
		_, _ = w.Write(sum[:])
	}))
	defer server.Close()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	again := time.NewTicker(pause)
	defer again.Stop()
	for ctx.Err() == nil {
		w.ask(ctx, client, server.URL)
		select {
		case <-again.C:
		case <-ctx.Done():
		}
	}
}

// ask measures one question. One that fails took its time all the same.
func (w *Watch) ask(ctx context.Context, client *http.Client, url string) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return
	}
	began := time.Now()
	w.begin(began)
	if res, err := client.Do(req); err == nil {
		_ = res.Body.Close()
	}
	w.end(Delay{began, time.Since(began)})
}

func (w *Watch) begin(at time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asking = at
}

func (w *Watch) end(d Delay) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asking = time.Time{}
	w.delays = append(w.delays, d)
	if d.From.Sub(w.delays[0].From) > 2*Kept { // now and then
		w.delays = slices.DeleteFunc(w.delays, func(old Delay) bool { return d.From.Sub(old.From) > Kept })
	}
}

// Delays are those of a time, oldest first, with that of a question which had no
// answer by its end.
func (w *Watch) Delays(from, to time.Time) (some []Delay) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, d := range w.delays {
		if d.From.Before(to) && d.From.Add(d.Took).After(from) {
			some = append(some, d)
		}
	}
	if !w.asking.IsZero() && w.asking.Before(to) {
		some = append(some, Delay{w.asking, to.Sub(w.asking)})
	}
	return some
}

// Worst is the longest delay of a time.
func (w *Watch) Worst(from, to time.Time) (worst time.Duration) {
	for _, d := range w.Delays(from, to) {
		worst = max(worst, d.Took)
	}
	return worst
}
