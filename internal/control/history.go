package control

import (
	"context"
	"fmt"
	"time"

	"github.com/getbindu/bindu-edge/internal/tunnel"
)

// Bounds of a tunnel's history.
const (
	MaxMoments = 50 // the newest so many
	MomentLife = 7 * 24 * time.Hour
)

// Moment is one thing that happened to a tunnel's link.
type Moment struct {
	At       time.Time
	Kind     ReportKind
	Pod      tunnel.PodID
	Protocol string // "h2" or "json"; empty = not known
	Agent    string // its version
	Reason   string // why it was closed or refused; empty = nobody saw it
}

// LinkMoment is a moment with the link that it is about.
type LinkMoment struct {
	Tunnel  tunnel.ID
	Session string // which of the pod's links; empty = none, or not known
	Moment
}

// History is what happened to the tunnel's links, newest first: at most
// MaxMoments. tunnel.ErrUnknown for a tunnel that is not there.
func (p *Plane) History(ctx context.Context, id tunnel.ID) ([]Moment, error) {
	if err := p.living(ctx, id); err != nil {
		return nil, fmt.Errorf("show history: %w", err)
	}
	moments, err := p.store.Moments(ctx, id, MaxMoments)
	if err != nil {
		return nil, fmt.Errorf("show history: %w", err)
	}
	return moments, nil
}

// keepHistory writes down what a pod saw, whatever came of it: a link that
// another one has replaced meanwhile was there too.
func (p *Plane) keepHistory(ctx context.Context, tx Tx, pod tunnel.PodID, reports []LinkReport, now time.Time) error {
	moments := make([]LinkMoment, len(reports))
	for i, r := range reports {
		moments[i] = LinkMoment{Tunnel: r.Tunnel, Session: r.Session, Moment: Moment{
			At: r.when(now), Kind: r.Kind, Pod: pod,
			Protocol: clip(r.Protocol), Agent: clip(r.Agent), Reason: clip(r.Reason),
		}}
	}
	return tx.AppendMoments(ctx, moments)
}
