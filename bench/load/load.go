// Package load puts load on an HTTP server and says what its callers saw. It
// decides nothing about what a figure should be. Its servers are the ones that
// the benchmark started, so they are trusted to end their answers; a wrong
// status or size is an error all the same and never counted as an answer.
//
// Run is an open loop: requests have their times in a schedule, and a latency
// counts from there. A closed loop (Wrk) waits for an answer before it asks
// again, so a server that stalls is asked less just then, and the stall hardly
// shows; it is right for CPU per request, and wrong for latency.
package load

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"
)

// Options configure Run.
type Options struct {
	URL   string // http only
	Size  int64  // the size that every answer's body has; any other is an error (-1: any is right)
	Conns int    // keep-alive connections, opened before the first request
	Rate  float64
	For   time.Duration // Rate × For requests are made
	// Status is that of every answer (0: 200). Any other is an error.
	Status int
	// Timeout bounds one request from when it is sent (0: 10 s). What was not
	// even sent this long after the last scheduled time counts as "not sent".
	Timeout time.Duration
	// Dial opens a connection (nil: TCP to the URL's host).
	Dial func(context.Context) (net.Conn, error)
}

// Result is what the callers saw.
type Result struct {
	Latency Histogram      // of the right answers, from their scheduled times
	Errors  map[string]int // by kind: connect, write, read, timeout, status 502, size, not sent
	Took    time.Duration  // from the first scheduled time to the last answer
}

// Rate is how many right answers a second there were.
func (r *Result) Rate() float64 {
	if r.Took <= 0 {
		return 0
	}
	return float64(r.Latency.Count()) / r.Took.Seconds()
}

// Err is nil when every answer was right.
func (r *Result) Err() error {
	failed := 0
	for _, n := range r.Errors {
		failed += n
	}
	if failed == 0 {
		return nil
	}
	return fmt.Errorf("%d of %d requests failed: %v", failed, uint64(failed)+r.Latency.Count(), r.Errors)
}

// Run makes the requests of o's schedule and waits for their answers. Failed
// requests are in the Result; the error says that there is none: a wrong
// option, no connection at the start, or a ctx that ended.
func Run(ctx context.Context, o Options) (*Result, error) {
	return run(ctx, o, pause)
}

func run(ctx context.Context, o Options, sleep func(time.Duration)) (*Result, error) {
	target, err := url.Parse(o.URL)
	if err != nil {
		return nil, fmt.Errorf("load: %w", err)
	}
	n := int(o.Rate * o.For.Seconds())
	if target.Scheme != "http" || o.Conns < 1 || n < 1 {
		return nil, errors.New("load: an http URL, a connection and a request are the least")
	}
	if o.Timeout == 0 {
		o.Timeout = 10 * time.Second
	}
	if o.Status == 0 {
		o.Status = http.StatusOK
	}
	callers := make([]*caller, o.Conns)
	for i := range callers {
		if callers[i], err = newCaller(target, o.Dial); err != nil {
			return nil, fmt.Errorf("load: %w", err)
		}
		defer callers[i].close()
		if err := callers[i].connect(ctx); err != nil {
			return nil, fmt.Errorf("load: %w", err)
		}
	}

	begin := time.Now()
	step := time.Duration(float64(time.Second) / o.Rate)
	giveUp := begin.Add(time.Duration(n)*step + o.Timeout)
	due := make(chan time.Time, n) // holds the whole schedule: a busy caller never holds it up
	var working sync.WaitGroup
	working.Go(func() {
		defer close(due)
		for i := range n {
			at := begin.Add(time.Duration(i) * step)
			sleep(time.Until(at))
			if ctx.Err() != nil {
				return
			}
			due <- at
		}
	})
	parts := make([]Result, o.Conns)
	for i, c := range callers {
		working.Go(func() { parts[i] = c.work(ctx, due, giveUp, o) })
	}
	working.Wait()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	all := &Result{Errors: map[string]int{}, Took: time.Since(begin)}
	for _, part := range parts {
		all.Latency.Add(&part.Latency)
		for kind, n := range part.Errors {
			all.Errors[kind] += n
		}
	}
	return all, nil
}

// work asks at the scheduled times until there are no more.
func (c *caller) work(ctx context.Context, due <-chan time.Time, giveUp time.Time, o Options) Result {
	r := Result{Errors: map[string]int{}}
	for at := range due {
		if ctx.Err() != nil || time.Now().After(giveUp) {
			r.Errors["not sent"]++
			continue
		}
		if kind := c.ask(ctx, o); kind != "" {
			r.Errors[kind]++
			continue
		}
		r.Latency.Record(time.Since(at))
	}
	return r
}

// ask makes one request on the caller's connection, a new one if need be. It
// returns the kind of what went wrong, or nothing.
func (c *caller) ask(ctx context.Context, o Options) string {
	if err := c.connect(ctx); err != nil {
		return "connect"
	}
	stop := c.until(ctx, o.Timeout)
	defer stop()
	if err := c.send(http.MethodGet, nil, 0); err != nil {
		return c.failed("write", err)
	}
	status, got, err := c.receive()
	switch {
	case err != nil:
		return c.failed("read", err)
	case status != o.Status:
		return fmt.Sprintf("status %d", status)
	case o.Size >= 0 && got != o.Size:
		return "size"
	}
	return ""
}
