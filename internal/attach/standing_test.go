package attach

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/getbindu/bindu-edge/agent"
	"github.com/getbindu/bindu-edge/internal/controlclient"
	"github.com/getbindu/bindu-edge/internal/hub"
	"github.com/getbindu/bindu-edge/internal/link"
	"github.com/getbindu/bindu-edge/internal/registry/memory"
	"github.com/getbindu/bindu-edge/internal/route"
	"github.com/getbindu/bindu-edge/internal/tunnel"
	"github.com/getbindu/bindu-edge/internal/wire"
)

// stillLink is a link of which only what is told of it matters.
type stillLink struct {
	hub.Link
	err  error
	load func() (int, int64)
}

func (l *stillLink) Err() error         { return l.err }
func (l *stillLink) Load() (int, int64) { return l.load() }

// stands makes a link of the tunnel.
func stands(t testing.TB, at *hub.Hub, id tunnel.ID, l *stillLink) *stood {
	t.Helper()
	grant := tunnel.Grant{Tunnel: id, Slug: tunnel.Slug("slug-" + id), ExpiresAt: time.Now().Add(time.Hour)}
	session, err := at.Open(context.Background(), grant, "")
	if err != nil {
		t.Fatal(err)
	}
	return &stood{
		a:    &attempt{tunnel: grant.Tunnel, slug: grant.Slug, protocol: wire.ProtocolH2, remote: "192.0.2.1:5", version: "agent/1"},
		link: l, session: session, since: time.Now(),
	}
}

// Each link is told of from its beginning to its end, whichever ends first, and
// then how it ended.
func TestLinksAreTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, at := &Handler{}, realHub()
		var all []*stood
		for _, id := range []tunnel.ID{"a", "b", "c", "d"} {
			l := &stillLink{load: func() (int, int64) { return 3, 4096 }}
			all = append(all, stands(t, at, id, l))
			h.roster.add(all[len(all)-1])
		}
		want := LinkState{
			Tunnel: "b", Slug: "slug-b", Protocol: "h2", Since: all[1].since, Remote: "192.0.2.1:5", Agent: "agent/1", Streams: 3, Unread: 4096,
		}
		i := slices.IndexFunc(h.Links(), func(l LinkState) bool { return l.Tunnel == "b" })
		if diff := cmp.Diff(want, h.Links()[i]); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		broken := errors.New("connection reset")
		ends := []struct {
			of   int
			err  error
			told error
		}{{1, net.ErrClosed, nil}, {3, fmt.Errorf("read: %w", io.EOF), nil}, {0, broken, broken}, {2, nil, nil}}
		for n, end := range ends {
			<-time.After(time.Second)
			l := all[end.of]
			l.link.(*stillLink).err = end.err
			h.roster.remove(l, link.ReasonLost)
			if left := h.Links(); len(left) != 3-n || slices.ContainsFunc(left, func(o LinkState) bool { return o.Tunnel == l.a.tunnel }) {
				t.Errorf("%d ended: told of %v", n+1, left)
			}
			want := LinkEnd{
				Tunnel: l.a.tunnel, Protocol: "h2", Reason: link.ReasonLost, Since: l.since, EndedAt: time.Now(), Remote: "192.0.2.1:5",
			}
			got := h.Ends()[0]
			if !errors.Is(got.Err, end.told) {
				t.Errorf("the end of %s says %v, want %v", want.Tunnel, got.Err, end.told)
			}
			got.Err = nil
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("the newest end (-want +got):\n%s", diff)
			}
		}
		for _, l := range all {
			l.session.Abandon()
		}
	})
}

func TestEndsAreBounded(t *testing.T) {
	t.Parallel()
	h := &Handler{}
	if got := h.Ends(); len(got) != 0 {
		t.Fatalf("%d ends of nothing", len(got))
	}
	for n := range 3*maxEnds + 7 {
		l := &stood{a: &attempt{tunnel: tunnel.ID(fmt.Sprint(n))}, link: &stillLink{}}
		h.roster.add(l)
		h.roster.remove(l, link.ReasonLeft)
	}
	var want []tunnel.ID
	for n := 3*maxEnds + 6; len(want) < maxEnds; n-- {
		want = append(want, tunnel.ID(fmt.Sprint(n)))
	}
	var got []tunnel.ID
	for _, e := range h.Ends() {
		got = append(got, e.Tunnel)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// While somebody asks what 5,000 links do, and one of them takes its time, links
// come and go and tunnels are found.
func TestAskingStopsNobody(t *testing.T) {
	const many = 5000
	h, at := &Handler{}, realHub()
	asked, answer := make(chan struct{}), make(chan struct{})
	var once sync.Once
	var all []*stood
	for n := range many {
		l := &stillLink{load: func() (int, int64) { return 1, 1 }}
		if n == many/2 {
			l.load = func() (int, int64) {
				once.Do(func() { close(asked) })
				<-answer
				return 1, 1
			}
		}
		all = append(all, stands(t, at, tunnel.ID(fmt.Sprint(n)), l))
		h.roster.add(all[n])
	}
	listed := make(chan []LinkState)
	go func() { listed <- h.Links() }()
	<-asked
	newcomer := stands(t, at, "newcomer", &stillLink{load: func() (int, int64) { return 0, 0 }})
	h.roster.add(newcomer)
	for _, l := range all {
		h.roster.remove(l, link.ReasonLost)
		l.session.Abandon()
	}
	h.Ends()
	if at.Len() != 1 || at.Find("newcomer") != nil {
		t.Errorf("%d sessions", at.Len())
	}
	close(answer)
	if got := <-listed; len(got) != many {
		t.Errorf("%d links told of, want those that stood when it was asked: %d", len(got), many)
	}
	if got := h.Links(); len(got) != 1 || got[0].Tunnel != "newcomer" {
		t.Errorf("told of %v, want the newcomer", got)
	}
	newcomer.session.Abandon()
}

// With real links of both protocols, what is told is what happens.
func TestRealLinksAreTold(t *testing.T) {
	for _, protocol := range []string{"h2", "json"} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			at, reports := realHub(), make(told, 10)
			h, url, _ := serveHandler(t, Options{
				Hub: at, Reports: reports, Links: link.NewOpener(link.Options{}), PublicURL: func(tunnel.Slug) string { return "" },
				ControlPlane: plane(func(id tunnel.ID, _ string) (tunnel.Grant, error) {
					return tunnel.Grant{Tunnel: id, Slug: "demo", ExpiresAt: time.Now().Add(time.Hour)}, nil
				}),
			})
			online := make(chan struct{})
			var once sync.Once
			o := agent.Options{Edge: url, TunnelID: "t", Token: secret, OnState: func(s agent.State) {
				if s.Phase == agent.Online {
					once.Do(func() { close(online) })
				}
			}}
			if protocol == "json" {
				o.Protocol = agent.JSON
			}
			stop, _ := connect(t, o)
			<-online
			next := route.New(route.Options{Pod: "pod-1", Hub: at, Registry: memory.New()}).Here("t")
			ask := func() *http.Response {
				r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://demo.example/", nil)
				if err != nil {
					t.Fatal(err)
				}
				res, err := next.RoundTrip(r)
				if err != nil {
					t.Fatal(err)
				}
				return res
			}
			_ = ask().Body.Close()
			res := ask()
			got := h.Links()
			if len(got) != 1 || got[0].Tunnel != "t" || got[0].Slug != "demo" || got[0].Protocol != protocol ||
				got[0].Requests != 2 || got[0].InFlight != 1 || got[0].Since.IsZero() || !strings.HasPrefix(got[0].Remote, "127.0.0.1:") {
				t.Errorf("told of %+v", got)
			}
			_ = res.Body.Close()
			stop()
			for r := range reports {
				if r.State == controlclient.LinkClosed { // by then its end is remembered
					break
				}
			}
			if left, ends := h.Links(), h.Ends(); len(left) != 0 || len(ends) != 1 || ends[0].Tunnel != "t" || ends[0].Protocol != protocol || ends[0].Reason != link.ReasonLeft {
				t.Errorf("after the end told of %+v, ends %+v", left, ends)
			}
		})
	}
}
