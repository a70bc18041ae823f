package ops

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/getbindu/bindu-edge/internal/fault"
	"github.com/getbindu/bindu-edge/internal/podstatus"
)

// StatusFunc says what the pod does. It must end with its context, and hold no
// lock that a request needs for longer than it takes to copy a list.
type StatusFunc func(context.Context, podstatus.Query) podstatus.Status

// serveStatus answers one question at a time: who asks often makes others who ask
// wait, and nobody else.
func serveStatus(status StatusFunc) http.Handler {
	turn := make(chan struct{}, 1)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		q, err := podstatus.ParseQuery(r.URL.Query())
		if err != nil {
			fault.Write(w, r, fault.New(fault.BadRequest, "The query can't be read: "+err.Error()+"."))
			return
		}
		select {
		case turn <- struct{}{}:
		case <-r.Context().Done():
			return
		}
		s := func() podstatus.Status {
			defer func() { <-turn }()
			return status(r.Context(), q)
		}()
		answer(w, r, http.StatusOK, s)
	})
}

// seen is what looking at a dependency has found, beside whether it is there.
type seen struct {
	since  time.Time // of the state it is in
	away   bool
	lastOK time.Time
	took   time.Duration // the last look that went well
	err    string
	errAt  time.Time
}

// note is called with h.mu held.
func (h *Health) note(name string, err error, took time.Duration) {
	now := time.Now()
	s, known := h.seen[name]
	if !known || s.away != (err != nil) {
		s.since, s.away = now, err != nil
	}
	if err != nil {
		s.err, s.errAt = podstatus.Text(err), now
	} else {
		s.lastOK, s.took = now, took
	}
	h.seen[name] = s
}

// Pod is what the pod's health adds to its status.
func (h *Health) Pod() (status string, ready, draining bool, why []string) {
	now := h.status()
	why = []string{}
	for name, state := range now.Checks {
		h.mu.Lock()
		reached := h.reached[name]
		h.mu.Unlock()
		switch {
		case !reached:
			why = append(why, name+" was not reached yet")
		case state == "away":
			why = append(why, name+" is away")
		}
	}
	slices.Sort(why)
	if now.Status == "draining" {
		why = append(why, "the pod is shutting down")
	}
	return now.Status, now.ready(), now.Status == "draining", why
}

// ready says whether the pod should get traffic.
func (s state) ready() bool { return s.Status != "starting" && s.Status != "draining" }

// Dependencies are all that is looked at, by name.
func (h *Health) Dependencies() []podstatus.Dependency {
	h.mu.Lock()
	defer h.mu.Unlock()
	list := []podstatus.Dependency{}
	add := func(name string, measured bool) {
		d := podstatus.Dependency{Name: name, State: "unknown"}
		if s, known := h.seen[name]; known {
			d.State = "ok"
			if s.away {
				d.State = "away"
			}
			d.Since, d.LastOK, d.Error, d.ErrorAt = utc(s.since), utc(s.lastOK), s.err, utc(s.errAt)
			if measured && !s.lastOK.IsZero() {
				d.Latency = new(float64(s.took.Microseconds()) / 1000)
			}
		}
		list = append(list, d)
	}
	for name := range h.opts.Checks {
		add(name, true)
	}
	for name := range h.opts.Beside {
		add(name, false) // no question is asked for it
	}
	slices.SortFunc(list, func(a, b podstatus.Dependency) int { return strings.Compare(a.Name, b.Name) })
	return list
}

// utc is t as the document has it, to the millisecond.
func utc(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return t.UTC().Truncate(time.Millisecond)
}
