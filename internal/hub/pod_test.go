package hub_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/getbindu/bindu-edge/internal/fault"
	"github.com/getbindu/bindu-edge/internal/hub"
	"github.com/getbindu/bindu-edge/internal/link"
	"github.com/getbindu/bindu-edge/internal/registry/memory"
	"github.com/getbindu/bindu-edge/internal/tunnel"
)

const (
	id    = tunnel.ID("t")
	grace = 5 * time.Second
	drain = 30 * time.Second
)

// scripted is a link whose agent does as told.
type scripted struct {
	name      string // what it answers
	roundTrip func(*http.Request) (*http.Response, error)
	probe     func(context.Context) error
	goodbye   func(context.Context) error

	once    sync.Once
	reason  link.Reason
	done    chan struct{}
	leave   sync.Once
	leaving chan struct{}
	worn    atomic.Bool
	notify  atomic.Pointer[func()]
}

func newLink(name string) *scripted {
	return &scripted{name: name, done: make(chan struct{}), leaving: make(chan struct{})}
}

func (l *scripted) Done() <-chan struct{}    { return l.done }
func (l *scripted) Leaving() <-chan struct{} { return l.leaving }
func (l *scripted) Worn() bool               { return l.worn.Load() }
func (l *scripted) Reason() link.Reason      { return l.reason }
func (l *scripted) Watch(notify func())      { l.notify.Store(&notify) }

func (l *scripted) Close(r link.Reason) {
	l.once.Do(func() { l.reason = r; l.goaway(); close(l.done); l.tell() })
}

func (l *scripted) goaway() { l.leave.Do(func() { close(l.leaving); l.tell() }) }
func (l *scripted) wear()   { l.worn.Store(true); l.tell() }

func (l *scripted) tell() {
	if notify := l.notify.Load(); notify != nil {
		(*notify)()
	}
}

func (l *scripted) Probe(ctx context.Context) error {
	if l.probe == nil {
		return nil
	}
	return l.probe(ctx)
}

func (l *scripted) Goodbye(ctx context.Context) error {
	if l.goodbye == nil {
		return nil
	}
	return l.goodbye(ctx)
}

func (l *scripted) RoundTrip(req *http.Request) (*http.Response, error) {
	if l.roundTrip != nil {
		return l.roundTrip(req)
	}
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(l.name))}, nil
}

// ended returns the reason if the link has ended, else "".
func (l *scripted) ended() link.Reason {
	select {
	case <-l.done:
		return l.reason
	default:
		return ""
	}
}

// silent never answers a probe.
func silent(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }

// counting is a gate that lets everything in, or nothing.
type counting struct {
	mu      sync.Mutex
	in, out int
	refuse  error
	spoil   error        // what Answer says
	now     tunnel.Grant // of the last Update
}

func (g *counting) Update(grant tunnel.Grant) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.now = grant
}

func (g *counting) Refusal(context.Context, *http.Request) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.refuse
}

func (g *counting) Enter(req *http.Request) (*http.Request, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.refuse != nil {
		return nil, g.refuse
	}
	g.in++
	return req, nil
}

func (g *counting) Answer(*http.Request, *http.Response) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.spoil
}

func (g *counting) Leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.out++
}

// pod is a hub under test, and the sessions that it serves.
type pod struct {
	*hub.Hub
	t        *testing.T
	registry *memory.Registry
	gate     *counting
	serving  sync.WaitGroup
}

// run gives f a pod, in a bubble where time is ours. At the end no session and
// no claim may be left.
func run(t *testing.T, change func(*hub.Options), f func(t *testing.T, p *pod)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		p := newPod(t, "pod-1", memory.New(), change)
		f(t, p)
		p.end()
		<-time.After(grace) // what the hub remembers of the tunnel
	})
}

func newPod(t *testing.T, name tunnel.PodID, registry *memory.Registry, change func(*hub.Options)) *pod {
	p := &pod{t: t, registry: registry, gate: &counting{}}
	o := hub.Options{
		Pod: name, Registry: registry, Gate: func(tunnel.Grant) hub.Gate { return p.gate },
		Grace: grace, DrainTimeout: drain,
	}
	if change != nil {
		change(&o)
	}
	p.Hub = hub.New(o)
	return p
}

// end closes what is left, and says what is left then.
func (p *pod) end() {
	p.t.Helper()
	p.CloseAll(link.ReasonDraining)
	p.serving.Wait()
	if n := p.Len(); n != 0 {
		p.t.Errorf("%d sessions are left", n)
	}
	if c, held, _ := p.registry.Owner(p.t.Context(), id); held {
		p.t.Errorf("a claim is left: %+v", c)
	}
	if p.gate.in != p.gate.out {
		p.t.Errorf("the gate saw %d requests enter and %d leave", p.gate.in, p.gate.out)
	}
}

func grant() tunnel.Grant {
	return tunnel.Grant{Tunnel: id, ExpiresAt: time.Now().Add(24 * time.Hour)}
}

func (p *pod) open(instance string) (*hub.Session, error) {
	return p.Open(p.t.Context(), grant(), instance)
}

func (p *pod) mustOpen(instance string) *hub.Session {
	p.t.Helper()
	s, err := p.open(instance)
	if err != nil {
		p.t.Fatal(err)
	}
	return s
}

// serve links l until it ends.
func (p *pod) serve(s *hub.Session, l *scripted) {
	p.serving.Add(1)
	s.Begin(l, func(link.Reason) { p.serving.Done() })
	synctest.Wait()
}

// link opens a session and serves l on it.
func (p *pod) link(instance string, l *scripted) *hub.Session {
	p.t.Helper()
	s := p.mustOpen(instance)
	p.serve(s, l)
	return s
}

// found is the name of the link that gets new requests, "" for none.
func (p *pod) found() string {
	p.t.Helper()
	next := p.Find(id)
	if next == nil {
		return ""
	}
	res, err := next.RoundTrip(request())
	if err != nil {
		return err.Error()
	}
	defer res.Body.Close()
	name, _ := io.ReadAll(res.Body)
	return string(name)
}

func (p *pod) want(name string) {
	p.t.Helper()
	synctest.Wait()
	if got := p.found(); got != name {
		p.t.Errorf("%q gets new requests, want %q", got, name)
	}
}

func (p *pod) owner() string {
	c, _, _ := p.registry.Owner(p.t.Context(), id)
	return c.Session
}

func (p *pod) wantEnded(l *scripted, want link.Reason) {
	p.t.Helper()
	synctest.Wait()
	if got := l.ended(); got != want {
		p.t.Errorf("the link %s ended with reason %q, want %q", l.name, got, want)
	}
}

func request() *http.Request {
	req, err := http.NewRequest(http.MethodGet, "http://edge.example/", nil)
	if err != nil {
		panic(err)
	}
	return req
}

func code(err error) fault.Code {
	if err == nil {
		return ""
	}
	return fault.From(err).Code
}

// undelivered is what a link says of a request that it never handed over.
var undelivered = fault.Wrap(fault.TunnelOffline, "The agent's connection has just ended.", errors.Join(fault.ErrNotDelivered))

// advance lets time pass in the bubble; it takes none outside.
func advance(d time.Duration) { <-time.After(d); synctest.Wait() }
