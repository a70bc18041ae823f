package hub_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/getbindu/bindu-edge/internal/fault"
	"github.com/getbindu/bindu-edge/internal/hub"
	"github.com/getbindu/bindu-edge/internal/link"
	"github.com/getbindu/bindu-edge/internal/tunnel"
)

// tally remembers. The tests ask it from one goroutine at a time.
type tally struct {
	Served, Failed, Refusals, Closed int
}

func (n *tally) Request(failed bool) {
	if failed {
		n.Failed++
	} else {
		n.Served++
	}
}
func (n *tally) Refused() { n.Refusals++ }
func (n *tally) Close()   { n.Closed++ }

// Every request that gets to a tunnel's link, or to its gate, is counted once, by
// what its caller sees of it.
func TestTally(t *testing.T) {
	t.Parallel()
	served, failed, refused := tally{Served: 1}, tally{Failed: 1}, tally{Refusals: 1}
	says := func(status int) func(*http.Request) (*http.Response, error) {
		return func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: status, Header: http.Header{}, Body: http.NoBody}, nil
		}
	}
	fails := func(err error) func(*http.Request) (*http.Response, error) {
		return func(*http.Request) (*http.Response, error) { return nil, err }
	}
	odd := fault.New(fault.Internal, "")
	odd.Status = 400
	gone, leave := context.WithCancel(context.Background())
	leave()
	for _, row := range []struct {
		name  string
		gone  bool // the caller
		gate  error
		agent func(*http.Request) (*http.Response, error)
		spoil error
		want  tally
	}{
		{name: "answered", agent: says(200), want: served},
		{name: "not found there", agent: says(404), want: served},
		{name: "refused by the agent's service", agent: says(429), want: served},
		{name: "the service fails", agent: says(500), want: failed},
		{name: "the service is away", agent: says(503), want: failed},
		{name: "upgraded without being asked", agent: says(101), want: failed},
		{name: "rate", gate: fault.New(fault.RateLimited, ""), want: refused},
		{name: "wrong credential", gate: fault.New(fault.Unauthorized, ""), want: refused},
		{name: "wrong address", gate: fault.New(fault.Forbidden, ""), want: refused},
		{name: "method", gate: fault.New(fault.MethodNotAllowed, ""), want: refused},
		{name: "too large", gate: fault.New(fault.RequestTooLarge, ""), want: refused},
		{name: "too large in the end", agent: fails(fault.New(fault.RequestTooLarge, "")), want: refused},
		{name: "too many at once", gate: fault.New(fault.ConcurrencyLimited, ""), want: refused},
		{name: "too many for the agent", agent: fails(fault.Wrap(fault.ConcurrencyLimited, "", fault.ErrNotDelivered)), want: refused},
		{name: "too many checks", gate: fault.New(fault.EdgeOverloaded, ""), want: refused},
		{name: "gone while its credential was looked at", gone: true, gate: context.Canceled, want: served},
		{name: "gone before the answer", gone: true, agent: fails(context.Canceled), want: served},
		{name: "no answer in time", gone: true, agent: fails(fault.New(fault.FirstByteTimeout, "")), want: failed},
		{name: "its body stood still", gone: true, agent: fails(fault.New(fault.BadRequest, "")), want: served},
		{name: "link lost", agent: fails(fault.New(fault.LinkLost, "")), want: failed},
		{name: "no code", agent: fails(errors.New("odd")), want: failed},
		{name: "an upgrade that can't be", agent: fails(fault.New(fault.UpgradeUnsupported, "")), want: failed},
		{name: "an answer that can't go on", agent: says(200), spoil: fault.New(fault.BadAgentResponse, ""), want: failed},
		{name: "a status of its own", agent: fails(odd), want: served},
		{name: "not handed over", agent: fails(undelivered), want: tally{}},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			var got tally
			run(t, func(o *hub.Options) {
				o.Tally = func(g tunnel.Grant) hub.Tally {
					if g.Tunnel != id {
						t.Errorf("asked for a tally of %q", g.Tunnel)
					}
					return &got
				}
			}, func(t *testing.T, p *pod) {
				l := newLink("a")
				l.roundTrip = row.agent
				s := p.link("x", l)
				p.gate.refuse, p.gate.spoil = row.gate, row.spoil
				req := request()
				if row.gone {
					req = req.WithContext(gone)
				}
				res, err := s.RoundTrip(req)
				if err == nil {
					_, _ = io.Copy(io.Discard, res.Body)
					_ = res.Body.Close()
				}
				if diff := cmp.Diff(row.want, got); diff != "" {
					t.Errorf("counted (-want +got):\n%s", diff)
				}
			})
			if got.Closed != 1 {
				t.Errorf("closed %d times", got.Closed)
			}
		})
	}
}

// A request that is refused before it is ready to be sent is counted once, too.
func TestTallyOfRefusalBeforehand(t *testing.T) {
	t.Parallel()
	var got tally
	run(t, func(o *hub.Options) { o.Tally = func(tunnel.Grant) hub.Tally { return &got } }, func(t *testing.T, p *pod) {
		p.link("x", newLink("a"))
		for _, refuse := range []error{nil, fault.New(fault.RateLimited, "")} {
			p.gate.refuse = refuse
			if err := p.Refusal(t.Context(), id, request()); code(err) != code(refuse) {
				t.Errorf("Refusal = %v, want %v", err, refuse)
			}
		}
	})
	if diff := cmp.Diff(tally{Refusals: 1, Closed: 1}, got); diff != "" {
		t.Errorf("counted (-want +got):\n%s", diff)
	}
}

// A tally is closed when no link came of its session, too, and not made for one
// that has no room.
func TestTallyOfNoLink(t *testing.T) {
	t.Parallel()
	var made []*tally
	run(t, func(o *hub.Options) {
		o.MaxTunnels = 1
		o.Tally = func(g tunnel.Grant) hub.Tally {
			if g.Ephemeral {
				return nil
			}
			made = append(made, &tally{})
			return made[len(made)-1]
		}
	}, func(t *testing.T, p *pod) {
		p.mustOpen("x").Abandon()
		p.link("x", newLink("a"))
		if _, err := p.open("another"); code(err) != fault.AlreadyConnected {
			t.Errorf("%v, want already_connected", err)
		}
		other := grant()
		other.Tunnel = "other"
		if _, err := p.Open(t.Context(), other, "x"); code(err) != fault.EdgeOverloaded {
			t.Errorf("%v, want edge_overloaded", err)
		}
		p.CloseAll(link.ReasonDraining)
		p.serving.Wait()
		ephemeral := grant()
		ephemeral.Ephemeral = true
		s, err := p.Open(t.Context(), ephemeral, "")
		if err != nil {
			t.Fatal(err)
		}
		p.serve(s, newLink("b"))
		p.want("b") // asks, and nobody counts
	})
	if len(made) != 3 {
		t.Errorf("%d tallies", len(made))
	}
	for i, n := range made {
		if n.Closed != 1 {
			t.Errorf("tally %d was closed %d times", i, n.Closed)
		}
	}
}
