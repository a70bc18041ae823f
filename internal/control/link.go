package control

import (
	"context"
	"errors"
	"fmt"
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

// MaxLinks bounds one report. A full list that is longer can't be told.
const MaxLinks = 100_000

// Link is the last that was heard of a tunnel's link.
type Link struct {
	Tunnel   tunnel.ID
	State    LinkState // as stored, connected or offline; as shown, also unknown
	Pod      tunnel.PodID
	Session  string    // which of the pod's links it was
	Since    time.Time // in this state; zero = never connected
	Protocol string    // "h2" or "json"
	Agent    string    // its version

	LastError   string // why the last one ended or was refused
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
	Error    string    // of a closed or refused one; empty = no error
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
// and does not name has closed.
type Report struct {
	Pod   tunnel.PodID
	Links []LinkReport
	Full  bool
}

// Report keeps what a pod tells. A report of a tunnel that is not known is
// ignored: the tunnel was deleted meanwhile, or is one of the pod's own. An
// empty report says that the pod is there.
func (p *Plane) Report(ctx context.Context, r Report) error {
	if err := r.check(); err != nil {
		return fmt.Errorf("report links: %w", err)
	}
	now := precise(time.Now())
	err := p.update(ctx, func(ctx context.Context, tx Tx) error {
		if err := tx.HearPod(ctx, r.Pod, now); err != nil {
			return err
		}
		var before []Link
		if r.Full {
			var err error
			if before, err = tx.LinksOn(ctx, r.Pod); err != nil {
				return err
			}
		}
		known := make(map[tunnel.ID]Link, len(before))
		for _, l := range before {
			known[l.Tunnel] = l
		}
		for _, report := range r.Links {
			if l, ok := known[report.Tunnel]; ok && l.Session == report.Session {
				delete(known, report.Tunnel) // still as it was: nothing to write
				continue
			}
			delete(known, report.Tunnel)
			if err := p.keepLink(ctx, tx, r.Pod, report, now); err != nil {
				return err
			}
		}
		for _, l := range known { // no longer held, and nobody saw it close
			l.State, l.Since = LinkOffline, now
			if err := tx.PutLink(ctx, l); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("report links: %w", err)
	}
	return nil
}

func (r Report) check() error {
	if r.Pod == "" {
		return invalid("pod", "must be given")
	}
	if err := checkText("pod", string(r.Pod), maxText); err != nil {
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
			return invalid(fmt.Sprintf("links[%d].kind", i), "must be opened, or in a report that is not full closed or refused")
		}
	}
	return nil
}

// keepLink applies one report to what is known of its tunnel.
func (p *Plane) keepLink(ctx context.Context, tx Tx, pod tunnel.PodID, r LinkReport, now time.Time) error {
	at := precise(r.At)
	if r.At.IsZero() || at.After(now) {
		at = now
	}
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
	if r.Error != "" {
		l.LastError, l.LastErrorAt = clip(r.Error), at
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
