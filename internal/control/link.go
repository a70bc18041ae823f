package control

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/getbindu/bindu-edge/internal/tunnel"
)

// LinkState is whether a tunnel's agent is connected.
type LinkState string

// The states of a link. What a pod said last is not believed once the pod has
// not been heard of for PodSilence.
const (
	LinkConnected LinkState = "connected"
	LinkOffline   LinkState = "offline"
	LinkUnknown   LinkState = "unknown"
)

// PodSilence is how long a pod may say nothing before its links are unknown.
const PodSilence = 90 * time.Second

// Bounds of reports.
const (
	MaxLinks = 5000 // in one report
	MaxPods  = 2000 // that are remembered
	PodLife  = 24 * time.Hour
)

// Pod is an edge pod that reported.
type Pod struct {
	ID      tunnel.PodID
	HeardAt time.Time
	Links   int64 // that it holds, as far as it has said
}

// Link is the last that was heard of a tunnel's link.
type Link struct {
	Tunnel   tunnel.ID
	State    LinkState // as stored, connected or offline; as shown, also unknown
	Pod      tunnel.PodID
	Session  string    // which of the pod's links it was
	Since    time.Time // in this state; zero = never connected
	Protocol string    // "h2" or "json"
	Agent    string    // its version

	LastError   string // why the last one was refused or ended, but for normal ends
	LastErrorAt time.Time
	ReportedAt  time.Time // when the pod was last heard of; zero = never
}

// ShownAt is l as it is to be shown at now. l.ReportedAt must be the pod's.
func (l Link) ShownAt(now time.Time) Link {
	if l.State == "" {
		l.State = LinkOffline
	}
	if l.State == LinkConnected && !l.ReportedAt.After(now.Add(-PodSilence)) {
		l.State = LinkUnknown
	}
	return l
}

// LinkReport is one thing that a pod saw happen.
type LinkReport struct {
	Tunnel   tunnel.ID
	Session  string
	Kind     ReportKind
	At       time.Time // by the pod's clock; zero or in the future = now
	Protocol string    // of an opened one
	Agent    string    // of an opened one
	Reason   string    // why it was closed or refused; empty = nobody saw it
	Normal   bool      // closed as links are when all is well: the reason is no error
}

// ReportKind says what a pod saw.
type ReportKind string

// The kinds of reports.
const (
	LinkOpened  ReportKind = "opened"
	LinkClosed  ReportKind = "closed"
	LinkRefused ReportKind = "refused" // an agent with the right name was turned away
)

// Report is what a pod has to say: what happened since its last, in order, or
// with Full every link that it holds, as LinkOpened; then what it held before
// and does not name has closed. A full list that is too long for one report is
// told in several, each of which is full for the tunnels whose ids are greater
// than After and not greater than UpTo; empty = no such bound.
type Report struct {
	Pod         tunnel.PodID
	Links       []LinkReport
	Counts      []Count
	Full        bool
	After, UpTo tunnel.ID
}

func (r Report) covers(id tunnel.ID) bool { return id > r.After && (r.UpTo == "" || id <= r.UpTo) }

// reportBatch bounds the transactions of a report: whoever changes a tunnel
// meanwhile waits for one of them, not for all.
const reportBatch = 500

// Report keeps what a pod tells. A report of a tunnel that is not known is
// ignored: the tunnel was deleted meanwhile, or is one of the pod's own. An
// empty report says that the pod is there. After an error a part may have been
// kept; a report may come twice.
func (p *Plane) Report(ctx context.Context, r Report) error {
	if err := r.check(); err != nil {
		return fmt.Errorf("report links: %w", err)
	}
	now := precise(time.Now())
	before, err := p.hearPod(ctx, r, now)
	if err != nil {
		return fmt.Errorf("report links: %w", err)
	}
	todo := make([]LinkReport, 0, len(r.Links))
	for _, report := range r.Links {
		l, had := before[report.Tunnel]
		delete(before, report.Tunnel)
		if had && l.Session == report.Session {
			continue // still as it was: nothing to write
		}
		todo = append(todo, report)
	}
	for _, l := range before { // no longer held, and nobody saw it close
		todo = append(todo, LinkReport{
			Tunnel: l.Tunnel, Session: l.Session, Kind: LinkClosed, At: now, Protocol: l.Protocol, Agent: l.Agent,
		})
	}
	for batch := range slices.Chunk(todo, reportBatch) {
		err := p.update(ctx, func(ctx context.Context, tx Tx) error {
			for _, report := range batch {
				if err := p.keepLink(ctx, tx, r.Pod, report, now); err != nil {
					return err
				}
			}
			return p.keepHistory(ctx, tx, r.Pod, batch, now)
		})
		if err != nil {
			return fmt.Errorf("report links: %w", err)
		}
	}
	if err := p.keepCounts(ctx, r.Pod, r.Counts, now); err != nil {
		return fmt.Errorf("report counts: %w", err)
	}
	return nil
}

// hearPod notes that the pod is there. Of a full report it gives what the pod
// held so far and the report must name.
func (p *Plane) hearPod(ctx context.Context, r Report, now time.Time) (map[tunnel.ID]Link, error) {
	before := make(map[tunnel.ID]Link)
	err := p.update(ctx, func(ctx context.Context, tx Tx) error {
		if err := p.knownPod(ctx, tx, r.Pod); err != nil {
			return err
		}
		if err := tx.HearPod(ctx, r.Pod, now); err != nil || !r.Full {
			return err
		}
		links, err := tx.LinksOn(ctx, r.Pod)
		for _, l := range links {
			if r.covers(l.Tunnel) {
				before[l.Tunnel] = l
			}
		}
		return err
	})
	return before, err
}

// knownPod bounds how many pods a key that lies can make up.
func (p *Plane) knownPod(ctx context.Context, tx Tx, pod tunnel.PodID) error {
	_, err := tx.PodHeard(ctx, pod)
	if !errors.Is(err, ErrMissing) {
		return err
	}
	pods, err := tx.Pods(ctx)
	if err == nil && len(pods) >= MaxPods {
		err = fmt.Errorf("%d pods: %w", len(pods), ErrFull)
	}
	return err
}

// Pods are those that reported within PodLife, the one heard of last first.
func (p *Plane) Pods(ctx context.Context) ([]Pod, error) {
	pods, err := p.store.Pods(ctx)
	if err != nil {
		return nil, fmt.Errorf("list pods: %w", err)
	}
	return pods, nil
}

func (r Report) check() error {
	if r.Pod == "" {
		return invalid("pod_id", "must be given")
	}
	if err := checkText("pod_id", string(r.Pod), maxText); err != nil {
		return err
	}
	if len(r.Links) > MaxLinks {
		return invalid("links", "must be at most %d", MaxLinks)
	}
	for i, l := range r.Links {
		if _, err := tunnel.ParseID(string(l.Tunnel)); err != nil {
			return invalid(fmt.Sprintf("links[%d].tunnel_id", i), "must be a tunnel's id")
		}
		if err := checkText(fmt.Sprintf("links[%d].session", i), l.Session, maxText); err != nil {
			return err
		}
		switch {
		case l.Kind == LinkOpened:
		case (l.Kind == LinkClosed || l.Kind == LinkRefused) && !r.Full:
		default:
			return invalid(fmt.Sprintf("links[%d].state", i), "must be connected, or in a report that is not full closed or refused")
		}
		if r.Full && !r.covers(l.Tunnel) {
			return invalid(fmt.Sprintf("links[%d].tunnel_id", i), "must be after %q and up to %q, as this report says", r.After, r.UpTo)
		}
	}
	return checkCounts(r.Counts)
}

// when is r's moment by our clock, as far as we can tell.
func (r LinkReport) when(now time.Time) time.Time {
	at := precise(r.At)
	if r.At.IsZero() || at.After(now) {
		return now
	}
	return at
}

// keepLink applies one report to what is known of its tunnel.
func (p *Plane) keepLink(ctx context.Context, tx Tx, pod tunnel.PodID, r LinkReport, now time.Time) error {
	at := r.when(now)
	l, err := tx.Link(ctx, r.Tunnel)
	if err != nil && !errors.Is(err, ErrMissing) {
		return err
	}
	l.Tunnel = r.Tunnel
	switch r.Kind {
	case LinkOpened:
		elsewhere, err := p.liveElsewhere(ctx, tx, l, pod, now)
		if err != nil {
			return err
		}
		if elsewhere && at.Before(l.Since) {
			return nil // the tunnel has moved on since
		}
		l.State, l.Pod, l.Session, l.Since = LinkConnected, pod, r.Session, at
		l.Protocol, l.Agent = clip(r.Protocol), clip(r.Agent)
	case LinkClosed:
		if l.Pod != pod || l.Session != r.Session || l.State != LinkConnected {
			return nil // a late goodbye of an older link
		}
		l.State, l.Since = LinkOffline, at
	}
	if r.Reason != "" && !r.Normal {
		l.LastError, l.LastErrorAt = clip(r.Reason), at
	}
	return tx.PutLink(ctx, l)
}

// liveElsewhere reports whether another pod, one that can be believed, holds l.
func (p *Plane) liveElsewhere(ctx context.Context, tx Tx, l Link, pod tunnel.PodID, now time.Time) (bool, error) {
	if l.State != LinkConnected || l.Pod == pod {
		return false, nil
	}
	heard, err := tx.PodHeard(ctx, l.Pod)
	if errors.Is(err, ErrMissing) {
		return false, nil
	}
	return heard.After(now.Add(-PodSilence)), err
}
