package web_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/getbindu/bindu-edge/internal/control"
	"github.com/getbindu/bindu-edge/internal/tunnel"
	"github.com/getbindu/bindu-edge/test/planetest"
)

const part = "partial"

// part gets only what moves of a page.
func (b *browser) part(path string, headers ...string) answer {
	b.t.Helper()
	return b.get(path, append(headers, "HX-Request", "true", "HX-Request-Type", part)...)
}

// No name, and nothing that an agent or a pod says, becomes part of a page or of
// a header.
func TestInjection(t *testing.T) {
	t.Parallel()
	p := newPlant(t)
	b := p.signedIn(control.RoleAdmin)
	for _, text := range []string{
		`"><script>alert(1)</script>`, `'><img src=x onerror=alert(1)>`, `{{.}}`, `{{define "live"}}{{end}}`, `</title><script>`,
		`--><script>`, `javascript:alert(1)`, `<template hx type="partial" hx-target="body">`, `" hx-get="/sign-out`, `متجر <b>`,
	} {
		made := p.makeTunnel(control.Create{Name: text})
		key, _, err := p.plane.CreateKey(t.Context(), text, control.RoleViewer)
		if err != nil {
			t.Fatal(err)
		}
		err = p.plane.Report(t.Context(), control.Report{Pod: tunnel.PodID(text), Links: []control.LinkReport{
			{Tunnel: made.ID, Session: "s", Kind: control.LinkOpened, Protocol: text, Agent: text},
			{Tunnel: made.ID, Session: "s", Kind: control.LinkClosed, Reason: text},
		}})
		if err != nil {
			t.Fatal(err)
		}
		own := "/tunnels/" + string(made.ID)
		for _, path := range []string{
			"/", own, own + "/confirm/delete", "/pods", "/audit", "/audit?target=" + urlText(text), "/keys", "/keys/" + key.ID + "/revoke",
			"/?search=" + urlText(text), "/sign-in?to=" + urlText(text),
		} {
			a := b.get(path)
			if path != "/sign-in?to="+urlText(text) && a.status != http.StatusOK {
				t.Errorf("%s: %d", path, a.status)
			}
			bad := strings.Contains(a.body, "<script>") || strings.Contains(a.body, "<img src=x") || strings.Contains(a.body, "<b>") ||
				strings.Contains(a.body, `" hx-get="/sign-out`) || strings.Contains(a.body, "<template") || strings.Contains(a.body, `href="javascript:`)
			if bad {
				t.Errorf("%s runs %q", path, text)
			}
		}
		if body := b.get(own).body; strings.HasPrefix(text, "{{") && !strings.Contains(body, strings.NewReplacer(`"`, "&#34;").Replace(text)) {
			t.Errorf("%q is not shown as it is", text)
		}
	}
}

func urlText(s string) string {
	return strings.NewReplacer("%", "%25", " ", "%20", `"`, "%22", "<", "%3C", ">", "%3E", "{", "%7B", "}", "%7D", "&", "%26", "#", "%23", "+", "%2B").Replace(s)
}

func TestStates(t *testing.T) {
	t.Parallel()
	p := newPlant(t)
	b := p.signedIn(control.RoleViewer)
	if a := b.get("/"); !strings.Contains(a.body, `data-empty="none"`) {
		t.Errorf("the empty list: %s", a.body)
	}
	online, offline := p.makeTunnel(control.Create{}), p.makeTunnel(control.Create{})
	expired, revoked := p.makeTunnel(control.Create{}), p.makeTunnel(control.Create{})
	err := errors.Join(
		p.plane.ExpireTunnel(t.Context(), expired.ID, time.Now().Add(-time.Hour)), p.plane.RevokeTunnel(t.Context(), revoked.ID),
		p.plane.Report(t.Context(), control.Report{Pod: "pod-1", Links: []control.LinkReport{{Tunnel: online.ID, Session: "s", Kind: control.LinkOpened}}}),
	)
	if err != nil {
		t.Fatal(err)
	}
	for id, want := range map[tunnel.ID]string{online.ID: "online", offline.ID: "offline", expired.ID: "expired", revoked.ID: "revoked"} {
		mark := fmt.Sprintf(`data-tunnel="%s" data-state="%s"`, id, want)
		for _, path := range []string{"/", "/tunnels/" + string(id), "/?search=" + string(id)} {
			if a := b.part(path).want(t, http.StatusOK); !strings.Contains(a.body, mark) || strings.Contains(a.body, "<html") {
				t.Errorf("%s has no %s: %s", path, mark, a.body)
			}
		}
	}
	if a := b.get("/?link=connected"); strings.Count(a.body, "data-tunnel=") != 1 {
		t.Errorf("the connected ones: %s", a.body)
	}
	if a := b.get("/?status=active&search=nothing-like-this"); !strings.Contains(a.body, `data-empty="filtered"`) {
		t.Errorf("nothing found: %s", a.body)
	}
	if a := b.part("/pods"); !strings.Contains(a.body, `data-pod="pod-1" data-state="online"`) {
		t.Errorf("pods: %s", a.body)
	}
}

// What has not changed is not sent again.
func TestUnchangedPart(t *testing.T) {
	t.Parallel()
	p := newPlant(t)
	b := p.signedIn(control.RoleViewer)
	made := p.makeTunnel(control.Create{})
	tag := b.part("/").want(t, http.StatusOK).header.Get("ETag")
	if a := b.part("/", "If-None-Match", tag).want(t, http.StatusNotModified); a.body != "" {
		t.Errorf("body %q", a.body)
	}
	if err := p.plane.RevokeTunnel(t.Context(), made.ID); err != nil {
		t.Fatal(err)
	}
	b.part("/", "If-None-Match", tag).want(t, http.StatusOK)
	if a := b.get("/"); a.header.Get("ETag") != "" {
		t.Error("a whole page has a tag: a browser might show it to the next visitor")
	}
}

func TestTrafficIsShown(t *testing.T) {
	t.Parallel()
	p := newPlant(t)
	made := p.makeTunnel(control.Create{})
	a := p.signedIn(control.RoleViewer).part("/tunnels/"+string(made.ID)).want(t, http.StatusOK)
	for _, name := range []string{"requests", "errors", "refused"} {
		if got := a.marked(t, `data-count="`+name+`"`); got != "0" {
			t.Errorf("%s: %q", name, got)
		}
	}
	if !strings.Contains(a.body, `data-minutes="[[`) || !strings.Contains(a.body, "No requests in the last hour") {
		t.Errorf("the chart: %s", a.body)
	}
}

// counting is a store that has any number of tunnels, none of which fits, and
// counts how often it is asked.
type counting struct {
	control.Store
	asked, most int
}

func (s *counting) Tunnels(_ context.Context, q control.Selection) ([]control.Listed, *control.Position, error) {
	s.asked++
	s.most = max(s.most, q.Limit)
	return nil, &control.Position{CreatedAt: time.Unix(int64(1e9-s.asked), 0), ID: "t"}, nil
}

// However many tunnels there are, a page asks for a bounded number of them.
func TestListIsBounded(t *testing.T) {
	t.Parallel()
	s := &counting{Store: planetest.Store(t)}
	b := plantOn(t, s).signedIn(control.RoleViewer)
	a := b.get("/?search=rare").want(t, http.StatusOK)
	if s.asked != 3 || s.most != 50 || !strings.Contains(a.body, "Look further") {
		t.Errorf("asked %d times, for %d at most: %s", s.asked, s.most, a.body)
	}
}

// Pages are followed to the end: each tunnel is on one.
func TestPages(t *testing.T) {
	t.Parallel()
	p := newPlant(t)
	for i := range 120 {
		p.makeTunnel(control.Create{Slug: tunnel.Slug(fmt.Sprintf("slug-%03d", i))})
	}
	b := p.signedIn(control.RoleViewer)
	seen, path := 0, "/"
	for n := 0; path != "" && n < 5; n++ {
		a := b.get(path).want(t, http.StatusOK)
		seen += strings.Count(a.body, "data-tunnel=")
		_, after, _ := strings.Cut(a.body, `<a class="button" href="/?cursor=`)
		cursor, _, _ := strings.Cut(after, `" id="next-page"`)
		if path = ""; after != "" {
			path = "/?cursor=" + cursor
		}
	}
	if seen != 120 {
		t.Errorf("%d tunnels on all pages", seen)
	}
	entries := 0
	for path = "/audit"; path != ""; {
		a := b.get(path).want(t, http.StatusOK)
		entries += strings.Count(a.body, "data-entry=")
		_, after, _ := strings.Cut(a.body, `<a class="button" href="/audit?before=`)
		before, _, _ := strings.Cut(after, `" id="next-page"`)
		if path = ""; after != "" {
			path = "/audit?before=" + before
		}
	}
	if entries != 121 { // and the viewer's key
		t.Errorf("%d entries in the audit log", entries)
	}
}

// away is a store that can't be reached.
type away struct {
	control.Store
	on bool
}

func (s *away) KeyByDigest(ctx context.Context, d control.Digest) (control.Key, error) {
	if s.on {
		return control.Key{}, fmt.Errorf("dial: %w", control.ErrAway)
	}
	return s.Store.KeyByDigest(ctx, d)
}

func TestStoreIsAway(t *testing.T) {
	t.Parallel()
	s := &away{Store: planetest.Store(t)}
	b := plantOn(t, s).signedIn(control.RoleViewer)
	s.on = true
	if a := b.get("/").want(t, http.StatusServiceUnavailable); !strings.Contains(a.body, "does not answer") || strings.Contains(a.body, "dial") {
		t.Errorf("the page: %s", a.body)
	}
	s.on = false
	b.get("/").want(t, http.StatusOK) // still signed in
}
