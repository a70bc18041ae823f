package web_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/getbindu/bindu-edge/internal/control"
	"github.com/getbindu/bindu-edge/internal/tunnel"
	"github.com/getbindu/bindu-edge/test/planetest"
)

// The time beside a state is that since which it is so.
func TestSince(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPlant(t)
		began := time.Now().UTC()
		later := func(d time.Duration) string { return began.Add(d).Format(time.RFC3339) }
		for _, id := range []tunnel.ID{"expired", "revoked", "unknown", "offline", "never"} {
			made := p.makeTunnel(control.Create{ID: id, ExpiresAt: began.Add(24 * time.Hour)})
			if id == "never" {
				continue
			}
			opened := control.LinkReport{Tunnel: made.ID, Session: "s", Kind: control.LinkOpened}
			if err := p.plane.Report(t.Context(), control.Report{Pod: tunnel.PodID(id), Links: []control.LinkReport{opened}}); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Minute)
		closed := control.LinkReport{Tunnel: "offline", Session: "s", Kind: control.LinkClosed}
		err := errors.Join(
			p.plane.Report(t.Context(), control.Report{Pod: "unknown"}),
			p.plane.Report(t.Context(), control.Report{Pod: "offline", Links: []control.LinkReport{closed}}),
		)
		time.Sleep(time.Hour)
		err = errors.Join(err, p.plane.RevokeTunnel(t.Context(), "revoked"), p.plane.ExpireTunnel(t.Context(), "expired", time.Now().Add(-time.Minute)))
		if err != nil {
			t.Fatal(err)
		}
		b := p.signedIn(control.RoleOperator)
		list := b.get("/").want(t, http.StatusOK).body
		for id, want := range map[string]string{
			"expired": later(time.Hour), "revoked": later(time.Hour + time.Minute), "unknown": later(time.Minute), "offline": later(time.Minute), "never": "never connected",
		} {
			_, row, _ := strings.Cut(list, `<tr role="row" id="t-`+id+`"`)
			row, _, _ = strings.Cut(row, "</tr>")
			_, since, _ := strings.Cut(row, `data-label="Since">`)
			since, _, _ = strings.Cut(since, "</td>")
			if !strings.Contains(since, want) {
				t.Errorf("%s since %s, want %s", id, since, want)
			}
			if ended := strings.Contains(row, "ended <time"); ended != (id == "expired") {
				t.Errorf("%s has ended: %t", id, ended)
			}
			page := b.get("/tunnels/"+id).want(t, http.StatusOK).body
			if offers := strings.Contains(page, "Set a later end"); offers != (id == "expired") {
				t.Errorf("%s offers a later end: %t", id, offers)
			}
			// The page tells of the link apart from that: these pods are silent, too.
			link := map[string]string{"offline": "Disconnected", "never": "Link"}[id]
			if link == "" {
				link = "Last connected"
			}
			if !strings.Contains(page, "<dt>"+link+"</dt>") {
				t.Errorf("the page of %s has no %q", id, link)
			}
		}
	})
}

// A history that is empty says why.
func TestEmptyHistory(t *testing.T) {
	t.Parallel()
	kept := planetest.Store(t)
	p := plantOn(t, kept)
	b := p.signedIn(control.RoleViewer)
	path := "/tunnels/" + string(p.makeTunnel(control.Create{ID: "t"}).ID)
	if a := b.get(path); !strings.Contains(a.body, "No agent has connected yet.") {
		t.Errorf("a tunnel that nobody opened: %s", a.body)
	}
	err := kept.Update(t.Context(), func(ctx context.Context, tx control.Tx) error {
		return tx.PutLink(ctx, control.Link{Tunnel: "t", State: control.LinkOffline, Pod: "p", Since: time.Now().Add(-30 * 24 * time.Hour)})
	})
	if err != nil {
		t.Fatal(err)
	}
	if a := b.get(path); !strings.Contains(a.body, "Nothing in the last 7 days.") {
		t.Errorf("a tunnel whose history is forgotten: %s", a.body)
	}
}
