package control_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/getbindu/bindu-edge/internal/control"
	"github.com/getbindu/bindu-edge/internal/tunnel"
	"github.com/getbindu/bindu-edge/test/planetest"
)

func TestReports(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _ := newPlane(t)
		ctx := t.Context()
		for _, id := range []tunnel.ID{"a", "b"} {
			make1(t, p, control.Create{ID: id})
		}
		report := func(pod tunnel.PodID, full bool, links ...control.LinkReport) {
			t.Helper()
			if err := p.Report(ctx, control.Report{Pod: pod, Links: links, Full: full}); err != nil {
				t.Fatal(err)
			}
		}
		is := func(when string, id tunnel.ID, state control.LinkState, pod tunnel.PodID, session, lastError string) {
			t.Helper()
			shown, err := p.ShowTunnel(ctx, id)
			if err != nil {
				t.Fatal(err)
			}
			l := shown.Link
			if l.State != state || l.Pod != pod || l.Session != session || l.LastError != lastError {
				t.Errorf("%s: %s is %s on %q (%s), %q; want %s on %q (%s), %q", when, id, l.State, l.Pod, l.Session, l.LastError, state, pod, session, lastError)
			}
		}
		opened := func(id tunnel.ID, session string) control.LinkReport {
			return control.LinkReport{Tunnel: id, Session: session, Kind: control.LinkOpened, At: time.Now(), Protocol: "h2", Agent: "1.0"}
		}
		closed := func(id tunnel.ID, session string) control.LinkReport {
			return control.LinkReport{Tunnel: id, Session: session, Kind: control.LinkClosed, Reason: "went away"}
		}

		is("at first", "a", control.LinkOffline, "", "", "")
		report("p1", false, opened("a", "s1"), opened("nobody", "s9"))
		is("opened", "a", control.LinkConnected, "p1", "s1", "")
		report("p1", false, opened("a", "s2"), closed("a", "s1"))
		is("taken over on its pod", "a", control.LinkConnected, "p1", "s2", "")
		time.Sleep(time.Second) // the bubble's clock
		report("p2", false, opened("a", "s3"))
		report("p1", false, closed("a", "s2"))
		is("moved to another pod", "a", control.LinkConnected, "p2", "s3", "")
		stale := opened("a", "s2")
		stale.At = time.Now().Add(-time.Second)
		report("p1", true, stale)
		is("after an old list of the other", "a", control.LinkConnected, "p2", "s3", "")
		report("p2", true, opened("a", "s3"), opened("b", "s4"))
		is("in a full list", "b", control.LinkConnected, "p2", "s4", "")
		report("p2", true, opened("b", "s4"))
		is("not in the next", "a", control.LinkOffline, "p2", "s3", "")
		report("p2", false, control.LinkReport{Tunnel: "a", Kind: control.LinkRefused, Reason: "token does not open\x00 the tunnel"})
		is("refused", "a", control.LinkOffline, "p2", "s3", "token does not open  the tunnel")
		report("p2", false, closed("b", "s4"))
		is("closed", "b", control.LinkOffline, "p2", "s4", "went away")

		report("p2", false, opened("b", "s5"))
		time.Sleep(control.PodSilence)
		is("silent pod", "b", control.LinkUnknown, "p2", "s5", "went away")
		page, err := p.ListTunnels(ctx, control.Query{Link: control.LinkUnknown})
		if err != nil || len(page.Tunnels) != 1 || page.Tunnels[0].ID != "b" {
			t.Errorf("unknown ones: %+v, %v", page, err)
		}
		report("p2", false)
		is("the pod is back", "b", control.LinkConnected, "p2", "s5", "went away")
		time.Sleep(control.PodSilence)
		late := opened("b", "s6")
		late.At = time.Time{}.Add(time.Second) // a pod without a clock
		report("p3", false, late)
		is("taken from a silent pod", "b", control.LinkConnected, "p3", "s6", "went away")
	})
}

func TestReportRefuses(t *testing.T) {
	p, _ := newPlane(t)
	for _, row := range []struct {
		field string
		input control.Report
	}{
		{"pod_id", control.Report{}},
		{"pod_id", control.Report{Pod: "a\nb"}},
		{"links[1].tunnel_id", control.Report{Pod: "p", Links: []control.LinkReport{{Tunnel: "a", Kind: control.LinkOpened}, {Tunnel: "a/b"}}}},
		{"links[0].state", control.Report{Pod: "p", Links: []control.LinkReport{{Tunnel: "a", Kind: "lost"}}}},
		{"links[0].state", control.Report{Pod: "p", Full: true, Links: []control.LinkReport{{Tunnel: "a", Kind: control.LinkClosed}}}},
		{"links[0].session", control.Report{Pod: "p", Links: []control.LinkReport{{Tunnel: "a", Session: strings.Repeat("s", 300), Kind: control.LinkOpened}}}},
		{"links", control.Report{Pod: "p", Links: make([]control.LinkReport, control.MaxLinks+1)}},
	} {
		var field *control.FieldError
		if err := p.Report(t.Context(), row.input); !errors.As(err, &field) || field.Field != row.field {
			t.Errorf("%v, want a complaint about %s", err, row.field)
		}
	}
}

func TestListTunnels(t *testing.T) {
	p, _ := newPlane(t)
	ctx := t.Context()
	for _, slug := range []tunnel.Slug{"shop-one", "shop-two", "blog"} {
		make1(t, p, control.Create{Slug: slug})
	}
	var got []tunnel.Slug
	q := control.Query{Search: "SHOP", Status: tunnel.StatusActive, Link: control.LinkOffline, Limit: 1}
	for {
		page, err := p.ListTunnels(ctx, q)
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range page.Tunnels {
			got = append(got, l.Slug)
		}
		if q.Cursor = page.Next; q.Cursor == "" {
			break
		}
	}
	if diff := cmp.Diff([]tunnel.Slug{"shop-two", "shop-one"}, got); diff != "" {
		t.Errorf("found, newest first (-want +got):\n%s", diff)
	}
	for _, row := range []struct {
		field string
		input control.Query
	}{
		{"search", control.Query{Search: "a\x00"}}, {"search", control.Query{Search: strings.Repeat("a", 300)}},
		{"status", control.Query{Status: "offline"}}, {"connected", control.Query{Link: "yes"}},
		{"cursor", control.Query{Cursor: "!"}}, {"cursor", control.Query{Cursor: "YWJj"}}, {"cursor", control.Query{Cursor: "MSAnOyBEUk9Q"}},
	} {
		var field *control.FieldError
		if _, err := p.ListTunnels(ctx, row.input); !errors.As(err, &field) || field.Field != row.field {
			t.Errorf("%+v: %v, want a complaint about %s", row.input, err, row.field)
		}
	}
}

// away does not answer.
type away struct{ control.Store }

func (away) Ping(context.Context) error { return control.ErrAway }
func (away) BySlug(context.Context, tunnel.Slug) (control.Tunnel, error) {
	return control.Tunnel{}, control.ErrAway
}

func TestAwayIs503(t *testing.T) {
	s := planetest.Store(t)
	p, err := control.New(control.Options{Store: s})
	if err != nil {
		t.Fatal(err)
	}
	q, err := control.New(control.Options{Store: away{s}})
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/health", "/api/tunnels/resolve/slug"} {
		resp := call(q, "GET", path, "")
		if text := bodyOf(t, resp); resp.StatusCode != 503 || resp.Header.Get("Retry-After") == "" || !strings.Contains(text, `"control_plane_unavailable"`) {
			t.Errorf("%s: %d %s", path, resp.StatusCode, text)
		}
		if resp := call(p, "GET", path, ""); resp.StatusCode == 503 {
			t.Errorf("%s with a store that is there: 503", path)
		}
	}
}

// A link that ended as links do leaves the last error as it was.
func TestNormalEndIsNoError(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p, _ := newPlane(t)
		make1(t, p, control.Create{ID: "a"})
		for _, row := range []struct {
			reason string
			normal bool
			want   string
		}{
			{"agent_left", true, ""},
			{"lost", false, "lost"},
			{"replaced", true, "lost"},
			{"heartbeat_lost", false, "heartbeat_lost"},
		} {
			err := p.Report(t.Context(), control.Report{Pod: "p1", Links: []control.LinkReport{
				{Tunnel: "a", Session: row.reason, Kind: control.LinkOpened},
				{Tunnel: "a", Session: row.reason, Kind: control.LinkClosed, Reason: row.reason, Normal: row.normal},
			}})
			if err != nil {
				t.Fatal(err)
			}
			shown, err := p.ShowTunnel(t.Context(), "a")
			if err != nil {
				t.Fatal(err)
			}
			if l := shown.Link; l.State != control.LinkOffline || l.LastError != row.want {
				t.Errorf("after %s the link is %s, last error %q, want %q", row.reason, l.State, l.LastError, row.want)
			}
		}
	})
}
