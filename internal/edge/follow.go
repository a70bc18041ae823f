package edge

import (
	"context"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/getbindu/bindu-edge/internal/admission"
	"github.com/getbindu/bindu-edge/internal/attach"
	"github.com/getbindu/bindu-edge/internal/config"
	"github.com/getbindu/bindu-edge/internal/controlclient"
	"github.com/getbindu/bindu-edge/internal/hub"
	"github.com/getbindu/bindu-edge/internal/resolve"
	"github.com/getbindu/bindu-edge/internal/tunnel"
)

// Bounds of what follows a change.
const (
	// recheckSpread is for asking about every link at once.
	recheckSpread = 2 * time.Second
	// maxChanges may wait; over it, everything counts as changed.
	maxChanges = 10_000
	// maxForgets is how many slugs may wait to be dropped from the shared memory,
	// where they lapse by themselves.
	maxForgets = 1024

	forgetTimeout = time.Second
)

// newGate makes gates with the pod's limits, but for what a grant says.
func newGate(cfg config.Edge, refusals func(limit string) func()) func(tunnel.Grant) hub.Gate {
	guard := admission.New(admission.Options{
		Limits: admission.Limits{
			RPS: cfg.RateLimitRPS, Burst: cfg.RateLimitBurst, CallerRPS: cfg.RateLimitCallerRPS,
			InFlight: cfg.MaxInflightPerTunnel, Body: cfg.MaxRequestBody, Response: cfg.MaxResponseBody,
		},
		CIDRs:      tunnel.CIDRs{Allow: cfg.AllowCIDRs, Deny: cfg.DenyCIDRs},
		RateFields: cfg.RateLimitHeaders,
		Refusals:   refusals,
	})
	return func(grant tunnel.Grant) hub.Gate { return guard.Gate(grant) }
}

// follower puts in force what changes at the control plane, and tells that one
// of the links. Events are hints: what is cached of a tunnel is dropped, and the
// control plane is asked about its links. A nil *follower does nothing.
type follower struct {
	edge    *Edge
	shared  *resolve.Memory // nil = none
	events  *controlclient.Events
	reports *controlclient.Reports

	wake    chan struct{}
	forgets chan tunnel.Slug // to be dropped from the shared memory

	mu      sync.Mutex
	changes []controlclient.Change
	all     bool // changes were missed
}

// follows reports whether there is a control plane, and something to show it.
func (e *Edge) follows() bool { return e.control != nil && !e.cfg.ControlPlaneToken.IsZero() }

// tally counts the requests of tunnels that the control plane knows.
func (e *Edge) tally(grant tunnel.Grant) hub.Tally {
	if e.counts == nil || grant.Ephemeral {
		return nil
	}
	return e.counts.Open(grant.Tunnel)
}

// newFollower makes a follower, or nil when there is nothing to show the control
// plane that would let us follow.
func (e *Edge) newFollower(shared *resolve.Memory) *follower {
	if !e.follows() {
		return nil
	}
	f := &follower{edge: e, shared: shared, wake: make(chan struct{}, 1), forgets: make(chan tunnel.Slug, maxForgets)}
	f.events = controlclient.NewEvents(controlclient.EventsOptions{Client: e.control, Follower: f, Logger: e.log})
	f.reports = controlclient.NewReports(controlclient.ReportsOptions{
		Client: e.control, Pod: e.pod, Logger: e.log,
		Links:  func() []controlclient.LinkReport { return e.attach.Connected() },
		Counts: e.counts,
	})
	e.metrics.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "bindu_edge_reports_dropped_total", Help: "Reports of links that the control plane was not told.",
	}, func() float64 { return float64(f.reports.Dropped()) }))
	return f
}

// listen makes the agents' door tell what happens there.
func (f *follower) listen(o *attach.Options) {
	if f != nil {
		o.Reports = f.reports
	}
}

// start follows until stop, which also sends the last reports.
func (f *follower) start(ctx context.Context) (stop func()) {
	if f == nil {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	running.Go(func() { f.events.Run(ctx) })
	running.Go(func() { f.reports.Run(ctx) })
	running.Go(func() { f.run(ctx) })
	running.Go(func() { f.forget(ctx) })
	return func() {
		cancel()
		running.Wait()
	}
}

// Changed is a controlclient.Follower's.
func (f *follower) Changed(c controlclient.Change) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.changes) < maxChanges {
		f.changes = append(f.changes, c)
	} else {
		f.all = true
	}
	f.ring()
}

// Following is a controlclient.Follower's.
func (f *follower) Following(missed bool) {
	f.reports.List()
	if !missed {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.all = true
	f.ring()
}

func (f *follower) ring() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// run applies changes, as many at a time as there are.
func (f *follower) run(ctx context.Context) {
	for {
		select {
		case <-f.wake:
		case <-ctx.Done():
			return
		}
		f.mu.Lock()
		changes, all := f.changes, f.all
		f.changes, f.all = nil, false
		f.mu.Unlock()
		if all {
			f.applyAll()
		}
		f.apply(changes)
	}
}

// apply first drops what is known and then asks: who sees a link end may send a
// request at once.
func (f *follower) apply(changes []controlclient.Change) {
	if len(changes) == 0 {
		return
	}
	ids := make(map[tunnel.ID]struct{}, len(changes))
	for _, c := range changes {
		ids[c.Tunnel] = struct{}{}
		for _, slug := range []tunnel.Slug{c.Slug, c.OldSlug} {
			if slug == "" {
				continue
			}
			if f.shared != nil {
				f.shared.Distrust(slug)
				select {
				case f.forgets <- slug:
				default:
				}
			}
			f.edge.resolve.ForgetSlug(slug)
		}
	}
	f.edge.resolve.ForgetTunnels(ids)
	for id := range ids {
		f.edge.attach.Recheck(id)
	}
}

func (f *follower) applyAll() {
	if f.shared != nil {
		f.shared.DistrustAll()
	}
	f.edge.resolve.Doubt()
	f.edge.attach.RecheckAll(recheckSpread)
}

// forget drops slugs from the shared memory, which may be slow or away.
func (f *follower) forget(ctx context.Context) {
	for {
		select {
		case slug := <-f.forgets:
			limited, cancel := context.WithTimeout(ctx, forgetTimeout)
			_ = f.shared.Forget(limited, slug) // it lapses
			cancel()
		case <-ctx.Done():
			return
		}
	}
}
