// Package redis is the registry of many pods: claims live in one Redis, where
// every pod sees them. It decides between claims, by the rules of registrytest,
// each decision one script that Redis runs as a whole. It never decides whether
// an agent may claim or whether its link is alive, and it is not on the path of
// a request whose slug and link are known on the pod.
//
// A claim is valid only while the lease of its pod stands, so a pod that died
// without a goodbye locks nobody out. What this pod holds is remembered here
// too: after Redis was away, or came back empty, Run claims it again. What was
// given up meanwhile is remembered as well, and is removed instead.
//
// What others hold is remembered as well, until Redis says that it has changed:
// a request for a tunnel of another pod costs no question either. It is a guess
// at best, and harmless when wrong, because only the pod that holds a tunnel
// decides about its requests.
//
// Redis is trusted to the same degree as the other pods, which write to it:
// what is read from it is checked for its form and not for its truth.
package redis

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/rueidis"

	"github.com/getbindu/bindu-edge/internal/registry"
	"github.com/getbindu/bindu-edge/internal/tunnel"
)

// What Options leave empty.
const (
	DefaultPort     = 6379
	DefaultTTL      = 300 * time.Second
	DefaultPodLease = 15 * time.Second
	DefaultSlugTTL  = 60 * time.Second
	DefaultTimeout  = 2 * time.Second
)

// Options configure New. Pod and Host are required; a zero number or duration
// means its default. Durations count in milliseconds.
type Options struct {
	Pod         tunnel.PodID // unique to this process: see tunnel.NewPodID
	PeerAddress string       // what other pods dial; may be empty

	Host string
	Port int
	// SentinelMaster, if set, says that Host and Port are a Redis Sentinel's, which
	// is asked for the primary of this name. It is asked without TLS and password.
	SentinelMaster string

	DB       int
	Username string
	Password string
	TLS      *tls.Config // nil = plain TCP

	TTL      time.Duration // life of a claim, refreshed every third of it
	PodLease time.Duration // life of the pod's lease, refreshed every third of it
	SlugTTL  time.Duration // life of what SlugCache.Set writes
	Timeout  time.Duration // one question to Redis

	// Lost is told of each claim that went to another pod while this one thought
	// it held it, and who has the tunnel now: a claim without a session if that is
	// not known. It is called by Run, one call at a time, and MUST NOT block.
	// nil = nobody wants to know.
	Lost func(mine, holder tunnel.Claim)

	Logger  *slog.Logger          // nil = none
	Metrics prometheus.Registerer // nil = not registered
}

// Registry holds this pod's claims in Redis and reads everybody's. Make it with
// New, have Run beside it, Close it at last. Safe for concurrent use. No call
// takes longer than Options.Timeout, and while Redis is known to be away most
// of them fail at once; such an error wraps registry.ErrAway.
type Registry struct {
	opts    Options
	log     *slog.Logger
	metrics *metrics
	client  rueidis.Client
	dialer  dialer
	gate    gate
	slots   chan struct{} // one for each question under way
	book    *book
	view    *view
	wake    chan struct{} // tells Run that there is something to release
	leased  atomic.Int64  // when the lease was last renewed, Unix nanoseconds; 0 = never

	mu      sync.Mutex // orders ask's goroutines against Close
	closed  bool
	running sync.WaitGroup
}

// maxQuestions bounds the questions under way. With those that nobody waits for
// any more it stays below the 1,024 that rueidis queues on a connection.
const maxQuestions = 256

// New makes a registry. It neither connects nor starts anything.
func New(o Options) (*Registry, error) {
	if o.Pod == "" || o.Host == "" {
		return nil, errors.New("redis registry: needs a pod and a host")
	}
	o = withDefaults(o)
	view, err := newView()
	if err != nil {
		return nil, fmt.Errorf("redis registry: %w", err)
	}
	r := &Registry{
		opts: o, log: o.Logger, metrics: newMetrics(o.Metrics), book: newBook(), view: view,
		slots: make(chan struct{}, maxQuestions), wake: make(chan struct{}, 1),
	}
	client, err := connect(o, &r.dialer, view)
	if err != nil {
		return nil, fmt.Errorf("redis registry: %w", err)
	}
	r.client = client
	return r, nil
}

func withDefaults(o Options) Options {
	if o.Port == 0 {
		o.Port = DefaultPort
	}
	for _, d := range []struct {
		value   *time.Duration
		missing time.Duration
	}{
		{&o.TTL, DefaultTTL}, {&o.PodLease, DefaultPodLease}, {&o.SlugTTL, DefaultSlugTTL}, {&o.Timeout, DefaultTimeout},
	} {
		if *d.value <= 0 {
			*d.value = d.missing
		}
	}
	if o.Lost == nil {
		o.Lost = func(_, _ tunnel.Claim) {}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

// Ping reports whether Redis takes a change now: nil, or an error that says why
// not. One that can only be read, such as a replica or a primary whose disk is
// full, is of no use. It asks even while Redis is known to be away.
func (r *Registry) Ping(ctx context.Context) error {
	_, err := ask(ctx, r, question{call: callPing, timeout: r.opts.Timeout, insist: true}, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, r.client.Do(ctx, r.client.B().Pexpire().Key(pingKey(r.opts.Pod)).Milliseconds(1).Build()).Error()
	})
	if err != nil {
		return fmt.Errorf("ping redis: %w", err)
	}
	return nil
}

// Close removes all keys of this pod from Redis and disconnects. Call it once,
// after Run has returned; every other call fails from then on. When Redis can't
// be reached, or ctx ends before all is removed, the keys lapse with the lease.
func (r *Registry) Close(ctx context.Context) error {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.running.Wait() // no longer than their timeout
	defer r.client.Close()
	r.book.leaveAll(time.Now())
	if err := r.sayGoodbye(ctx); err != nil {
		return fmt.Errorf("close redis registry: %w", err)
	}
	return nil
}

// check refuses what no script should see.
func (r *Registry) check(c tunnel.Claim) error {
	if c.Tunnel == "" || c.Pod == "" || c.Session == "" {
		return registry.ErrIncomplete
	}
	if c.Pod != r.opts.Pod {
		return fmt.Errorf("claim of pod %q can't be made by pod %q", c.Pod, r.opts.Pod)
	}
	return nil
}

// gate keeps calls from waiting for a Redis that did not answer the last one:
// one of them tries, every gatePause, and the others fail at once.
type gate struct {
	away atomic.Bool
	next atomic.Int64 // when the next may try, Unix nanoseconds
}

const gatePause = 250 * time.Millisecond

func (g *gate) admits(now time.Time) bool {
	if !g.away.Load() {
		return true
	}
	next := g.next.Load()
	return now.UnixNano() >= next && g.next.CompareAndSwap(next, now.Add(gatePause).UnixNano())
}

// shut reports whether it would admit nobody now.
func (g *gate) shut(now time.Time) bool { return g.away.Load() && now.UnixNano() < g.next.Load() }

func (g *gate) failed(now time.Time) {
	g.next.Store(now.Add(gatePause).UnixNano())
	g.away.Store(true)
}

func (g *gate) answered() { g.away.Store(false) }
