package route_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/getbindu/bindu-edge/internal/fault"
	"github.com/getbindu/bindu-edge/internal/hub"
	"github.com/getbindu/bindu-edge/internal/link"
	"github.com/getbindu/bindu-edge/internal/registry/memory"
	"github.com/getbindu/bindu-edge/internal/relay"
	"github.com/getbindu/bindu-edge/internal/route"
	"github.com/getbindu/bindu-edge/internal/tunnel"
)

// cluster is pods with hubs of their own that share a registry and reach each
// other, in a bubble where time is ours.
type cluster struct {
	*testing.T
	registry *ledger
	pods     map[tunnel.PodID]*pod
	serving  sync.WaitGroup
}

type pod struct {
	*hub.Hub
	*route.Router
	gone bool // nobody can connect to it
}

// ledger is the registry, which can be away.
type ledger struct {
	*memory.Registry
	mu   sync.Mutex
	away error
}

func (l *ledger) goAway(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.away = err
}

func (l *ledger) Owner(ctx context.Context, id tunnel.ID) (tunnel.Claim, bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.away != nil {
		return tunnel.Claim{}, false, l.away
	}
	return l.Registry.Owner(ctx, id)
}

func (l *ledger) OwnerNow(ctx context.Context, id tunnel.ID) (tunnel.Claim, bool, error) {
	return l.Owner(ctx, id)
}

func inCluster(t *testing.T, f func(c *cluster)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c := &cluster{T: t, registry: &ledger{Registry: memory.New()}, pods: map[tunnel.PodID]*pod{}}
		for _, name := range []tunnel.PodID{here, there, other} {
			h := hub.New(hub.Options{
				Pod: name, Registry: c.registry, Gate: func(tunnel.Grant) hub.Gate { return open{} }, Peers: c,
				Grace: grace, DrainTimeout: time.Minute,
			})
			c.pods[name] = &pod{Hub: h, Router: route.New(route.Options{Pod: name, Hub: h, Registry: c.registry, Peers: c, Grace: grace})}
		}
		f(c)
		for _, p := range c.pods {
			p.CloseAll(link.ReasonDraining)
		}
		c.serving.Wait()
		<-time.After(grace) // what the hubs remember of the tunnel
	})
}

// To is a hop as package relay makes it.
func (c *cluster) To(name tunnel.PodID, id tunnel.ID) http.RoundTripper {
	return try(func(r *http.Request) (*http.Response, error) {
		p := c.pods[name]
		if p.gone {
			return fails(gone)(r)
		}
		res, err := p.Here(id).RoundTrip(r)
		if errors.Is(err, fault.ErrNotDelivered) && code(err) == fault.TunnelOffline {
			err = errors.Join(relay.ErrMisdirected, err)
		}
		return res, err
	})
}

func (c *cluster) Alive(ctx context.Context, claim tunnel.Claim) bool {
	return c.pods[claim.Pod].Alive(ctx, claim)
}

func (c *cluster) Moved(_ context.Context, claim tunnel.Claim, same bool) error {
	c.pods[claim.Pod].Moved(claim, same)
	return nil
}

// open is a gate that lets everything in.
type open struct{}

func (open) Refusal(context.Context, *http.Request) error { return nil }
func (open) Enter(r *http.Request) (*http.Request, error) { return r, nil }
func (open) Answer(*http.Request, *http.Response) error   { return nil }
func (open) Leave()                                       {}
func (open) Update(tunnel.Grant)                          {}

// agent is a link that answers with its name.
type agent struct {
	name string
	ends bool // with the first request, which it does not see
	once sync.Once
	done chan struct{}
	tell func()
}

func (a *agent) Done() <-chan struct{}         { return a.done }
func (a *agent) Leaving() <-chan struct{}      { return a.done }
func (a *agent) Worn() bool                    { return false }
func (a *agent) Watch(notify func())           { a.tell = notify }
func (a *agent) Reason() link.Reason           { return link.ReasonLost }
func (a *agent) Close(link.Reason)             { a.once.Do(func() { close(a.done); a.tell() }) }
func (a *agent) Probe(context.Context) error   { return nil }
func (a *agent) Goodbye(context.Context) error { return nil }

func (a *agent) RoundTrip(r *http.Request) (*http.Response, error) {
	if a.ends {
		a.Close(link.ReasonLost)
		return fails(unseen)(r)
	}
	return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader(a.name))}, nil
}

func (c *cluster) opened(p tunnel.PodID, id tunnel.ID) *hub.Session {
	c.Helper()
	s, err := c.pods[p].Open(c.Context(), tunnel.Grant{Tunnel: id, ExpiresAt: time.Now().Add(time.Hour)}, "agent")
	if err != nil {
		c.Fatal(err)
	}
	return s
}

func (c *cluster) serve(s *hub.Session, name string) *agent {
	a := &agent{name: name, done: make(chan struct{})}
	c.serving.Add(1)
	s.Begin(a, func(link.Reason) { c.serving.Done() })
	synctest.Wait()
	return a
}

func (c *cluster) link(p tunnel.PodID, name string) *agent {
	c.Helper()
	return c.serve(c.opened(p, id), name)
}

// lose has a link of the tunnel and ends it.
func (c *cluster) lose(p tunnel.PodID, id tunnel.ID) {
	c.Helper()
	c.serve(c.opened(p, id), "lost").Close(link.ReasonLost)
	synctest.Wait()
}

// outcome is what became of a request.
type outcome struct {
	agent string
	code  fault.Code
	took  time.Duration
	err   error
}

func send(ctx context.Context, way http.RoundTripper) (o outcome) {
	began := time.Now()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://edge.example/", nil)
	if err != nil {
		return outcome{err: err}
	}
	res, err := way.RoundTrip(req)
	o.took = time.Since(began)
	if err != nil {
		o.code, o.err = code(err), err
		return o
	}
	defer func() { _ = res.Body.Close() }()
	name, err := io.ReadAll(res.Body)
	o.agent, o.err = string(name), err
	return o
}

// sent sends a request in the background.
func (c *cluster) sent(way http.RoundTripper) <-chan outcome {
	got := make(chan outcome, 1)
	go func() { got <- send(c.Context(), way) }()
	synctest.Wait()
	return got
}

func (c *cluster) want(got <-chan outcome, agent string, code fault.Code, took time.Duration) {
	c.Helper()
	if o := <-got; o.agent != agent || o.code != code || o.took != took {
		c.Errorf("got an answer of %q, or %q (%v), after %v; want %q, %q after %v", o.agent, o.code, o.err, o.took, agent, code, took)
	}
}

// pass lets time pass in the bubble; it takes none outside.
func pass(d time.Duration) { <-time.After(d); synctest.Wait() }
