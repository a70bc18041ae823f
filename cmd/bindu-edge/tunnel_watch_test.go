package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/getbindu/bindu-edge/internal/config"
	"github.com/getbindu/bindu-edge/internal/control"
	"github.com/getbindu/bindu-edge/internal/planeclient"
	"github.com/getbindu/bindu-edge/internal/tunnel"
)

// watchedPlane is a control plane and a client for it, which can be told to fail.
type watchedPlane struct {
	*control.Plane
	at   *plane
	away atomic.Bool
}

func (w *watchedPlane) RoundTrip(req *http.Request) (*http.Response, error) {
	if w.away.Load() {
		return nil, io.ErrClosedPipe
	}
	return http.DefaultTransport.RoundTrip(req)
}

func newWatchedPlane(t *testing.T) *watchedPlane {
	t.Helper()
	made, server, stop, err := startTestPlane(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	secret, _, err := made.FirstAdmin(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	w := &watchedPlane{Plane: made}
	base, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	client, err := planeclient.New(planeclient.Options{BaseURL: base, Key: secret, Transport: w})
	if err != nil {
		t.Fatal(err)
	}
	w.at = &plane{Client: client, url: server.URL}
	return w
}

func (w *watchedPlane) make(t *testing.T, slug, name string) tunnel.ID {
	t.Helper()
	made, _, err := w.CreateTunnel(t.Context(), control.Create{Slug: tunnel.Slug(slug), Name: name})
	if err != nil {
		t.Fatal(err)
	}
	return made.ID
}

// looking is how often the tests look: they wait for what is printed, however
// long it takes.
const looking = 10 * time.Millisecond

// Where there is no terminal, each change is a line.
func TestWatchPrintsChanges(t *testing.T) {
	t.Parallel()
	w := newWatchedPlane(t)
	first := w.make(t, "demo", "")
	out, outIn := io.Pipe()
	problems, problemsIn := io.Pipe()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		p := &process{nil, outIn, problemsIn, config.NewLoader(config.LoaderOptions{})}
		done <- watchTunnels(ctx, p, w.at, planeclient.Filter{Limit: 10}, looking, false)
		_ = outIn.Close()
	}()
	lines, complaints := bufio.NewScanner(out), bufio.NewScanner(problems)
	next := func() string {
		if !lines.Scan() {
			t.Fatal("it printed no more")
		}
		at, rest, _ := strings.Cut(lines.Text(), " ")
		if _, err := time.Parse(time.RFC3339, at); err != nil {
			t.Error(err)
		}
		return rest
	}
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	got := []string{next()}
	second := w.make(t, "other", "a name")
	got = append(got, next())
	_, err := w.ChangeTunnel(t.Context(), first, func(t *control.Tunnel) error { t.Slug = "moved"; return nil })
	must(err)
	got = append(got, next())
	must(w.RevokeTunnel(t.Context(), first))
	got = append(got, next())

	w.away.Store(true)
	if !complaints.Scan() || !strings.HasSuffix(complaints.Text(), "; waiting for it") {
		t.Errorf("it said %q", complaints.Text())
	}
	must(w.DeleteTunnel(t.Context(), second))
	w.away.Store(false)
	got = append(got, next())
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	want := []string{
		"listed " + string(first) + " demo", "new " + string(second) + " other a name", "changed " + string(first) + " moved",
		"revoked " + string(first) + " moved", "gone " + string(second) + " other a name",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestWatchPrintsJSON(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	c := &changes{out: &out, json: true}
	now := time.Date(2027, 1, 31, 12, 0, 0, 5, time.UTC)
	first := []planeclient.Tunnel{{ID: "t1", Raw: json.RawMessage(`{"tunnel_id":"t1"}`), Link: planeclient.Link{State: "offline"}}}
	second := []planeclient.Tunnel{{ID: "t1", Raw: json.RawMessage(`{"tunnel_id":"t1","x":1}`), Link: planeclient.Link{State: "connected"}}}
	for _, list := range [][]planeclient.Tunnel{first, first, second, nil} {
		if err := c.show(list, now); err != nil {
			t.Fatal(err)
		}
	}
	want := `{"at":"2027-01-31T12:00:00Z","change":"listed","tunnel":{"tunnel_id":"t1"}}
{"at":"2027-01-31T12:00:00Z","change":"connected","tunnel":{"tunnel_id":"t1","x":1}}
{"at":"2027-01-31T12:00:00Z","change":"gone","tunnel":{"tunnel_id":"t1","x":1}}
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// A control plane that is away from the start is an error at once.
func TestWatchOfNobody(t *testing.T) {
	t.Parallel()
	w := newWatchedPlane(t)
	w.away.Store(true)
	p := &process{nil, io.Discard, io.Discard, config.NewLoader(config.LoaderOptions{})}
	err := watchTunnels(t.Context(), p, w.at, planeclient.Filter{}, looking, false)
	if told, ok := errors.AsType[*advice](err); !ok || told.code != exitAway {
		t.Errorf("got %v", err)
	}
}

// What others wrote into a table stays text, and stays in its column.
func TestTable(t *testing.T) {
	t.Parallel()
	now := time.Date(2027, 1, 31, 12, 0, 0, 0, time.UTC)
	list := []planeclient.Tunnel{
		{ID: "t1", Slug: "demo", Name: "日本", Status: "active", ExpiresAt: now.Add(time.Hour), Link: planeclient.Link{State: "connected", Since: now.Add(-time.Minute)}},
		{ID: "tunnel2", Slug: "x", Name: "a\x1b[2Jb" + strings.Repeat("c", 40), Status: "revoked", ExpiresAt: now.Add(-time.Hour), Link: planeclient.Link{State: "offline"}},
	}
	var out strings.Builder
	for name, p := range map[string]*paper{"plain": newPaper(&out), "colour": {w: bufio.NewWriter(&out), colour: true}} {
		got := strings.Join(p.align(tableOf(list, now)), "\n")
		want := `ID       SLUG  NAME                            STATUS   LINK       SINCE   EXPIRES
t1       demo  日本                            active   connected  1m ago  in 1h
tunnel2  x     a\x1b[2Jbcccccccccccccccccccc…  revoked  offline    -       1h ago`
		if name == "colour" {
			if !strings.Contains(got, "\x1b[32mactive\x1b[0m") || !strings.Contains(got, "\x1b[31mrevoked\x1b[0m") {
				t.Errorf("no colours in %q", got)
			}
			continue
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
}
