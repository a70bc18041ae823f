package page

import (
	"context"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/getbindu/bindu-edge/internal/control"
	"github.com/getbindu/bindu-edge/internal/tunnel"
)

// past puts tunnels in every state into the site, one of them with an hour of
// traffic and a history, and gives that one's id.
func (s *site) past() (busy tunnel.ID) {
	s.t.Helper()
	ctx, kept, now := s.t.Context(), s.store(), time.Now().UTC().Truncate(time.Microsecond)
	busy = "bs7q2m4k9x1v5t8w3n6p" // and the others are pastID
	rows := []struct {
		name, slug     string
		made, ends     time.Duration // from now
		state          control.LinkState
		pod            tunnel.PodID
		since, revoked time.Duration
	}{
		{"Invoice agent", "invoices", -9 * 24 * time.Hour, 21 * 24 * time.Hour, control.LinkConnected, "edge-fra-1", -52 * time.Minute, 0},
		{"Travel planner", "travel", -6 * 24 * time.Hour, 24 * 24 * time.Hour, control.LinkConnected, "edge-fra-2", -3 * time.Hour, 0},
		{"", "k3v9-quiet-harbour", -5 * 24 * time.Hour, 2 * time.Hour, control.LinkOffline, "", -26 * time.Hour, 0},
		{"Staging of the summariser", "summariser-staging", -4 * 24 * time.Hour, 90 * 24 * time.Hour, control.LinkConnected, "edge-ams-1", -20 * time.Minute, 0},
		{"Contractor's demo", "contractor-demo", -3 * 24 * time.Hour, 27 * 24 * time.Hour, control.LinkOffline, "", -40 * time.Hour, -30 * time.Minute},
		{"Workshop, day one", "workshop-1", -3 * 24 * time.Hour, -5 * time.Hour, control.LinkOffline, "", -5 * time.Hour, 0},
		{"Not opened yet", "fresh", -10 * time.Minute, 30 * 24 * time.Hour, "", "", 0, 0},
		{strings.Repeat("A name as long as a name may be, ", 3) + "1", strings.Repeat("long-slug", 7), -2 * time.Hour, 365 * 24 * time.Hour, control.LinkConnected, "edge-with-a-rather-long-name.eu-central-1.example", -time.Hour, 0},
		{strings.Repeat("W", 100), "wide", -time.Hour, 365 * 24 * time.Hour, control.LinkConnected, "edge-fra-1", -time.Hour, 0},
	}
	err := kept.Update(ctx, func(ctx context.Context, tx control.Tx) error {
		for pod, heard := range map[tunnel.PodID]time.Duration{
			"edge-fra-1": 0, "edge-fra-2": 0, "edge-ams-1": -20 * time.Minute, "edge-with-a-rather-long-name.eu-central-1.example": 0,
		} {
			if err := tx.HearPod(ctx, pod, now.Add(heard)); err != nil {
				return err
			}
		}
		for i, r := range rows {
			id := pastID(i)
			if i == 0 {
				id = busy
			}
			at := now.Add(r.made)
			t := control.Tunnel{
				ID: id, Name: r.name, Slug: tunnel.Slug(r.slug), Token: control.DigestOf(r.slug), CreatedAt: at, UpdatedAt: at, ExpiresAt: now.Add(r.ends),
			}
			if r.revoked != 0 {
				t.RevokedAt = now.Add(r.revoked)
			}
			if err := tx.Insert(ctx, t); err != nil {
				return err
			}
			if r.state == "" {
				continue
			}
			link := control.Link{Tunnel: id, State: r.state, Pod: r.pod, Session: "s", Since: now.Add(r.since), Protocol: "h2", Agent: "bindu-edge/1.0"}
			if err := tx.PutLink(ctx, link); err != nil {
				return err
			}
		}
		if err := tx.AppendMoments(ctx, longHistory(pastID(1), now)); err != nil {
			return err
		}
		return s.putPast(ctx, tx, busy, now)
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return busy
}

// pastID is the id of a tunnel that past makes.
func pastID(row int) tunnel.ID { return tunnel.ID(fmt.Sprintf("t%dq2m4k9x1v5t8w3n6p", row)) }

// longHistory is more than a page shows without scrolling.
func longHistory(id tunnel.ID, now time.Time) (moments []control.LinkMoment) {
	for i := range 30 {
		m := control.LinkMoment{Tunnel: id, Session: fmt.Sprint("long-", i/2), Moment: control.Moment{
			At: now.Add(time.Duration(i-33) * time.Hour), Kind: control.LinkOpened, Pod: "edge-fra-2", Protocol: "h2", Agent: "bindu-edge/1.0",
		}}
		if i%2 == 1 {
			m.Kind, m.Reason = control.LinkClosed, "agent_left"
		}
		moments = append(moments, m)
	}
	return moments
}

func (s *site) putPast(ctx context.Context, tx control.Tx, id tunnel.ID, now time.Time) error {
	moment := func(ago time.Duration, session string, kind control.ReportKind, pod tunnel.PodID, reason string) control.LinkMoment {
		return control.LinkMoment{Tunnel: id, Session: session, Moment: control.Moment{
			At: now.Add(-ago), Kind: kind, Pod: pod, Protocol: "h2", Agent: "bindu-edge/1.0", Reason: reason,
		}}
	}
	moments := []control.LinkMoment{
		moment(26*time.Hour, "1", control.LinkOpened, "edge-fra-2", ""),
		moment(5*time.Hour, "2", control.LinkRefused, "edge-fra-1", "the token is wrong"),
		moment(55*time.Minute, "1", control.LinkClosed, "edge-fra-2", "no sign of life for 25 s"),
		moment(52*time.Minute, "3", control.LinkOpened, "edge-fra-1", ""),
	}
	if err := tx.AppendMoments(ctx, moments); err != nil {
		return err
	}
	var counts []control.Count
	for i := range 50 {
		n := int64(40 + 30*math.Sin(float64(i)/5) + float64(i*7%13))
		m := control.Minute{At: now.Truncate(time.Minute).Add(-time.Duration(i) * time.Minute), Requests: n}
		if i%11 == 3 {
			m.Errors = n / 6
		}
		if i%9 == 4 {
			m.Refused = n / 4
		}
		counts = append(counts, control.Count{Tunnel: id, Minute: m})
	}
	return tx.PutCounts(ctx, "edge-fra-1", counts)
}
