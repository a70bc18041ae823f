package demo

import (
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// What /events takes in its query: n, how many events (1 to maxEvents), and
// interval, the time between two as a Go duration or a number of seconds
// (minInterval to maxInterval). Anything else is a 400 rather than a guess.
const (
	defaultEvents = 60
	maxEvents     = 3600

	defaultInterval = time.Second
	minInterval     = 10 * time.Millisecond
	maxInterval     = time.Minute
)

// events sends an event stream (text/event-stream of the HTML standard): the
// first event at once, then one each interval. The last has the type "end",
// because a browser would otherwise take the end for a failure and reconnect.
func events(w http.ResponseWriter, r *http.Request) {
	n, interval, err := eventsQuery(r)
	if err != nil {
		refuse(w, http.StatusBadRequest, err.Error())
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.WriteHeader(http.StatusOK)
	if r.Method == http.MethodHead {
		return
	}
	out := http.NewResponseController(w)
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for i := 1; ; i++ {
		_, err := fmt.Fprintf(w, "id: %d\ndata: {\"n\":%d,\"of\":%d,\"time\":%q}\n\n", i, i, n, time.Now().UTC().Format(time.RFC3339Nano))
		if err == nil && i == n {
			_, _ = fmt.Fprint(w, "event: end\ndata: {}\n\n") // nothing follows that could fail
			return
		}
		if err != nil || out.Flush() != nil {
			return // the caller has gone
		}
		select {
		case <-r.Context().Done():
			return
		case <-tick.C:
		}
	}
}

func eventsQuery(r *http.Request) (n int, interval time.Duration, err error) {
	n, interval = defaultEvents, defaultInterval
	q := r.URL.Query()
	if v := q.Get("n"); v != "" {
		n, err = strconv.Atoi(v)
		if err != nil || n < 1 || n > maxEvents {
			return 0, 0, fmt.Errorf("n is a number of events from 1 to %d", maxEvents)
		}
	}
	if v := q.Get("interval"); v != "" {
		if _, err := strconv.ParseFloat(v, 64); err == nil {
			v += "s"
		}
		interval, err = time.ParseDuration(v)
		if err != nil || interval < minInterval || interval > maxInterval {
			return 0, 0, fmt.Errorf("interval is a duration from %v to %v", minInterval, maxInterval)
		}
	}
	return n, interval, nil
}
