package redis

import (
	"cmp"
	"context"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/getbindu/bindu-edge/internal/registry/registrytest"
	"github.com/getbindu/bindu-edge/internal/tunnel"
	"github.com/getbindu/bindu-edge/test/redistest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type server struct{ *redistest.Server }

func startServer(t testing.TB, args ...string) *server {
	t.Helper()
	return &server{redistest.Start(t, args...)}
}

// pod makes a pod's registry, closed at the end of the test.
func (s *server) pod(t testing.TB, id string, change ...func(*Options)) *Registry {
	t.Helper()
	o := Options{Pod: tunnel.PodID(id), PeerAddress: id + ".test:7070", Host: "127.0.0.1", Port: s.Port, Timeout: 5 * time.Second}
	for _, f := range change {
		f(&o)
	}
	r, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = r.Close(ctx) // the server may be gone
	})
	return r
}

// run keeps the registry until the test ends, or stop is called.
func run(t testing.TB, r *Registry) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() { r.Run(ctx) })
	stop = func() {
		cancel()
		done.Wait()
	}
	t.Cleanup(stop)
	return stop
}

func claimOf(id, pod, session, instance string) tunnel.Claim {
	return tunnel.Claim{Tunnel: tunnel.ID(id), Pod: tunnel.PodID(pod), Session: session, Instance: instance}
}

func mustClaim(t testing.TB, r *Registry, c tunnel.Claim) {
	t.Helper()
	if _, err := r.Claim(t.Context(), c, ""); err != nil {
		t.Fatalf("Claim(%+v): %v", c, err)
	}
}

// pods is every pod at once, as the conformance suite wants it: each claim is
// made by the registry of its pod.
type pods struct {
	t      *testing.T
	server *server

	mu  sync.Mutex
	all map[tunnel.PodID]*Registry
}

func (p *pods) of(id tunnel.PodID) *Registry {
	p.mu.Lock()
	defer p.mu.Unlock()
	id = cmp.Or(id, "any")
	if p.all[id] == nil {
		p.all[id] = p.server.pod(p.t, string(id), func(o *Options) { o.PodLease = time.Hour })
	}
	return p.all[id]
}

func (p *pods) Claim(ctx context.Context, c tunnel.Claim, replacing string) (tunnel.Claim, error) {
	return p.of(c.Pod).Claim(ctx, c, replacing)
}
func (p *pods) Refresh(ctx context.Context, c tunnel.Claim) error { return p.of(c.Pod).Refresh(ctx, c) }
func (p *pods) Release(ctx context.Context, c tunnel.Claim) error { return p.of(c.Pod).Release(ctx, c) }
func (p *pods) ReleaseExpected(ctx context.Context, c tunnel.Claim, within time.Duration) error {
	return p.of(c.Pod).ReleaseExpected(ctx, c, within)
}
func (p *pods) Expected(ctx context.Context, id tunnel.ID) (time.Duration, error) {
	return p.of("").Expected(ctx, id)
}
func (p *pods) BindSlug(ctx context.Context, slug tunnel.Slug, c tunnel.Claim) error {
	return p.of(c.Pod).BindSlug(ctx, slug, c)
}
func (p *pods) BindSlugFor(ctx context.Context, slug tunnel.Slug, c tunnel.Claim, after time.Duration) error {
	return p.of(c.Pod).BindSlugFor(ctx, slug, c, after)
}
func (p *pods) SlugOf(ctx context.Context, instance string) (tunnel.Slug, bool, error) {
	return p.of("").SlugOf(ctx, instance)
}
func (p *pods) Owner(ctx context.Context, id tunnel.ID) (tunnel.Claim, bool, error) {
	return p.of("").Owner(ctx, id)
}
func (p *pods) OwnerNow(ctx context.Context, id tunnel.ID) (tunnel.Claim, bool, error) {
	return p.of("").OwnerNow(ctx, id)
}
func (p *pods) Slug(ctx context.Context, slug tunnel.Slug) (tunnel.ID, bool, error) {
	return p.of("").Slug(ctx, slug)
}

func TestConformance(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	p := &pods{t: t, server: s, all: map[tunnel.PodID]*Registry{}}
	registrytest.Run(t, registrytest.Harness{
		New: func(t *testing.T) registrytest.Registry {
			s.Do("FLUSHALL")
			for _, r := range p.all { // connections are kept: the model wants hundreds of registries
				r.book = newBook()
			}
			return p
		},
		Lapse: func(t *testing.T, _ registrytest.Registry, pod tunnel.PodID) {
			if s.Number("DEL", podKey(pod)) != 1 {
				t.Fatalf("pod %s had no lease", pod)
			}
		},
	})
}
