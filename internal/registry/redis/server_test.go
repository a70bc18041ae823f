package redis

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"net"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"go.uber.org/goleak"

	"github.com/getbindu/bindu-edge/internal/registry/registrytest"
	"github.com/getbindu/bindu-edge/internal/tunnel"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// server is a redis-server of this test's own, without persistence: started
// again, it is empty.
type server struct {
	port  int
	args  []string
	admin rueidis.Client // a second way in, for looking at keys; nil while stopped
	cmd   *exec.Cmd
}

func startServer(t testing.TB, args ...string) *server {
	t.Helper()
	s := &server{port: freePort(t), args: args}
	s.start(t)
	t.Cleanup(func() {
		if s.cmd != nil {
			s.kill(t)
		}
	})
	return s
}

func freePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func (s *server) start(t testing.TB) {
	t.Helper()
	args := append([]string{
		"--port", strconv.Itoa(s.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no",
		"--dir", t.TempDir(), "--loglevel", "notice",
	}, s.args...)
	s.cmd = exec.Command("redis-server", args...)
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		t.Fatalf("these tests need redis-server (make test installs it): %v", err)
	}
	var said strings.Builder
	for lines := bufio.NewScanner(out); ; {
		if !lines.Scan() {
			t.Fatalf("redis-server did not start:\n%s", said.String())
		}
		fmt.Fprintln(&said, lines.Text())
		if strings.Contains(lines.Text(), "Ready to accept connections") {
			break
		}
	}
	s.admin, err = rueidis.NewClient(rueidis.ClientOption{
		InitAddress: []string{fmt.Sprint("127.0.0.1:", s.port)}, ForceSingleClient: true, DisableCache: true,
		PipelineMultiplex: -1, Password: s.password(),
	})
	if err != nil {
		t.Fatal(err)
	}
}

func (s *server) password() string {
	for i, arg := range s.args {
		if arg == "--requirepass" {
			return s.args[i+1]
		}
	}
	return ""
}

func (s *server) kill(t testing.TB) {
	t.Helper()
	s.signal(t, syscall.SIGKILL)
	_ = s.cmd.Wait() // it was killed
	s.admin.Close()
	s.cmd, s.admin = nil, nil
}

func (s *server) signal(t testing.TB, sig syscall.Signal) {
	t.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil {
		t.Fatal(err)
	}
}

// raw runs a command as a person at a terminal would.
func (s *server) raw(t testing.TB, words ...string) rueidis.RedisResult {
	t.Helper()
	res := s.admin.Do(context.Background(), s.admin.B().Arbitrary(words...).Build())
	if err := res.NonRedisError(); err != nil {
		t.Fatalf("%v: %v", words, err)
	}
	return res
}

func (s *server) text(t testing.TB, words ...string) string {
	t.Helper()
	text, err := s.raw(t, words...).ToString()
	if err != nil && !rueidis.IsRedisNil(err) {
		t.Fatalf("%v: %v", words, err)
	}
	return text
}

func (s *server) number(t testing.TB, words ...string) int64 {
	t.Helper()
	n, err := s.raw(t, words...).AsInt64()
	if err != nil {
		t.Fatalf("%v: %v", words, err)
	}
	return n
}

// pod makes a pod's registry, closed at the end of the test.
func (s *server) pod(t testing.TB, id string, change ...func(*Options)) *Registry {
	t.Helper()
	o := Options{Pod: tunnel.PodID(id), PeerAddress: id + ".test:7070", Host: "127.0.0.1", Port: s.port, Timeout: 5 * time.Second}
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

// within waits until ok, looking again and again.
func within(t testing.TB, d time.Duration, what string, ok func() bool) {
	t.Helper()
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	for end := time.Now().Add(d); !ok(); <-again.C {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", d, what)
		}
	}
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
			s.raw(t, "FLUSHALL")
			for _, r := range p.all { // connections are kept: the model wants hundreds of registries
				r.book = newBook()
			}
			return p
		},
		Lapse: func(t *testing.T, _ registrytest.Registry, pod tunnel.PodID) {
			if s.number(t, "DEL", podKey(pod)) != 1 {
				t.Fatalf("pod %s had no lease", pod)
			}
		},
	})
}
