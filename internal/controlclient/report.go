package controlclient

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/getbindu/bindu-edge/internal/tunnel"
)

// LinkState is what a pod has seen of a link.
type LinkState string

// The states of a link, as reported.
const (
	LinkConnected LinkState = "connected"
	LinkClosed    LinkState = "closed"
	LinkRefused   LinkState = "refused" // an agent was turned away
)

// LinkReport is one thing that happened to a tunnel's link.
type LinkReport struct {
	Tunnel       tunnel.ID `json:"tunnel_id"`
	Session      string    `json:"session,omitempty"` // which of the pod's links; none of a refused one
	State        LinkState `json:"state"`
	At           time.Time `json:"at"`
	Protocol     string    `json:"protocol,omitempty"` // "h2" or "json"
	AgentVersion string    `json:"agent_version,omitempty"`
	RemoteAddr   string    `json:"remote_addr,omitempty"`
	Reason       string    `json:"reason,omitempty"` // why it closed or was refused
	Normal       bool      `json:"normal,omitempty"` // it closed as links do when all is well
}

// Bounds of reports.
const (
	ReportEvery   = time.Second
	ListEvery     = time.Minute // all links, whatever happened
	MaxReport     = 5000        // links in one report
	maxReportSize = 900_000     // bytes of them
	maxPending    = 10_000      // opened and closed links that wait to be reported
	maxRefused    = 100         // refusals in one report
	refusedOnce   = time.Minute // in which the same refusal is told once
	maxRefusals   = 4096        // refusals remembered for that
	lastWords     = time.Second
)

// ReportsOptions configure NewReports. All but Counts are required.
type ReportsOptions struct {
	Client *Client
	Pod    tunnel.PodID
	Links  func() []LinkReport // those that are connected now
	Counts *Counts             // nil = requests are not counted
	Logger *slog.Logger
}

// Reports tells the control plane, if it wants to know, what happens to this
// pod's links. Make it with NewReports; all methods may be called concurrently.
type Reports struct {
	opts   ReportsOptions
	denied alarm // of Run alone

	mu      sync.Mutex
	pending []LinkReport // opened and closed, oldest first
	refused []LinkReport
	told    map[refusal]time.Time
	listDue bool
	dropped uint64
	idle    bool // nobody wants to know, for now
}

type refusal struct {
	tunnel tunnel.ID
	reason string
}

// NewReports makes a Reports. It sends nothing before Run.
func NewReports(o ReportsOptions) *Reports {
	return &Reports{opts: o, told: map[refusal]time.Time{}, listDue: true}
}

// Report takes one report and does not block. When there are too many the oldest
// is dropped, and a list of all links makes up for it.
func (r *Reports) Report(l LinkReport) {
	l.At = l.At.UTC()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.idle {
		return
	}
	if l.State == LinkRefused {
		r.refuse(l)
		return
	}
	if len(r.pending) >= maxPending {
		r.pending = r.pending[1:]
		r.dropped++
		r.listDue = true
	}
	r.pending = append(r.pending, l)
}

// refuse collapses what an agent that tries for ever would report.
func (r *Reports) refuse(l LinkReport) {
	key, now := refusal{l.Tunnel, l.Reason}, time.Now()
	if at, ok := r.told[key]; ok && now.Sub(at) < refusedOnce {
		return
	}
	if len(r.told) >= maxRefusals {
		for old, at := range r.told {
			if now.Sub(at) >= refusedOnce {
				delete(r.told, old)
			}
		}
		if len(r.told) >= maxRefusals {
			clear(r.told)
		}
	}
	r.told[key] = now
	if len(r.refused) >= maxRefused {
		r.refused = r.refused[1:]
		r.dropped++
	}
	r.refused = append(r.refused, l)
}

// List makes all links be reported with the next report.
func (r *Reports) List() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.listDue = true
}

// Dropped is how many reports, of links and of tunnels' minutes, were never sent.
func (r *Reports) Dropped() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.dropped + r.opts.Counts.lost()
}

// Run reports until ctx ends, and then what is left. It may be called once.
func (r *Reports) Run(ctx context.Context) {
	var b backoff
	var counting sync.WaitGroup
	defer counting.Wait()
	if r.opts.Counts != nil {
		counting.Go(func() { r.opts.Counts.run(ctx) })
	}
	listed := time.Now()
	for wait := ReportEvery; pause(ctx, wait); {
		if time.Since(listed) >= ListEvery {
			r.List()
		}
		list, err := r.send(ctx, false)
		switch {
		case err == nil:
			r.opts.Counts.wanted(true)
			b.reset()
			wait = ReportEvery
			if list {
				listed = time.Now()
			}
		case errors.Is(err, errNotOffered):
			r.opts.Logger.LogAttrs(ctx, slog.LevelDebug, "the control plane takes no reports", slog.Any("error", err))
			r.opts.Counts.wanted(false)
			wait = around(askAgain)
		case ctx.Err() != nil:
		default:
			if errors.Is(err, errDenied) || errors.Is(err, ErrNonsense) {
				r.denied.warn(ctx, r.opts.Logger, "the control plane does not take our reports of what is connected", slog.Any("error", err))
			}
			wait = b.wait()
		}
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWords)
	defer cancel()
	if _, err := r.send(ctx, true); err != nil {
		r.opts.Logger.LogAttrs(ctx, slog.LevelDebug, "the last report was not sent", slog.Any("error", err))
	}
}

// send sends what there is, and says whether a list was part of it. What could
// not be sent waits for the next time.
func (r *Reports) send(ctx context.Context, last bool) (list bool, err error) {
	r.mu.Lock()
	pending, refused := r.pending, r.refused
	list = r.listDue
	r.pending, r.refused, r.listDue, r.idle = nil, nil, false, false
	r.mu.Unlock()
	// What happened comes before what is: a late "opened" would undo the list.
	left, err := r.tell(ctx, append(pending, refused...))
	if err == nil && list {
		err = r.tellAll(ctx, r.opts.Links())
	}
	if err != nil {
		r.restore(left, err)
		return list, err
	}
	return list, r.tellCounts(ctx, last)
}

// restore keeps what was not sent. Refusals are news or nothing, and what the
// control plane won't have today it won't have tomorrow; the list is due again in
// any case.
func (r *Reports) restore(left []LinkReport, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.listDue = true
	r.idle = errors.Is(err, errNotOffered)
	if r.idle || errors.Is(err, errDenied) || errors.Is(err, ErrNonsense) {
		r.dropped += uint64(len(left))
		return
	}
	kept := left[:0:0]
	for _, l := range left {
		if l.State != LinkRefused {
			kept = append(kept, l)
		} else {
			r.dropped++
		}
	}
	kept = append(kept, r.pending...)
	if over := len(kept) - maxPending; over > 0 {
		kept = kept[over:]
		r.dropped += uint64(over)
	}
	r.pending = kept
}
