package redis

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/getbindu/bindu-edge/internal/registry"
	"github.com/getbindu/bindu-edge/internal/tunnel"
	"github.com/getbindu/bindu-edge/test/child"
)

func (s *server) keys(t testing.TB) []string {
	t.Helper()
	keys, err := s.Do("KEYS", "*").AsStrSlice()
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(keys)
	return keys
}

// The keys are a contract with whoever looks at them from outside.
func TestKeys(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	r := s.pod(t, "host-1a2b3c4d")
	run(t, r)
	c := claimOf("t.1", "host-1a2b3c4d", "session", "instance")
	mustClaim(t, r, c)
	if err := r.BindSlug(t.Context(), "own", c); err != nil {
		t.Fatal(err)
	}
	if err := r.SlugCache().Set(t.Context(), "cached", "t.2", time.Hour); err != nil {
		t.Fatal(err)
	}
	gone := claimOf("t.4", "host-1a2b3c4d", "s4", "")
	mustClaim(t, r, gone)
	if err := r.ReleaseExpected(t.Context(), gone, time.Minute); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		name  string
		input string
		kind  string
		read  []string
		want  []string
		life  time.Duration
	}{
		{"owner", "tunnel:t.1", "string", []string{"GET", "tunnel:t.1"}, []string{"host-1a2b3c4d"}, 300 * time.Second},
		{"claim", "claim:t.1", "hash", []string{"HMGET", "claim:t.1", "pod", "session", "instance", "slug"},
			[]string{"host-1a2b3c4d", "session", "instance", "own"}, 300 * time.Second},
		{"tunnels of the pod", "pod:host-1a2b3c4d:tunnels", "set", []string{"SMEMBERS", "pod:host-1a2b3c4d:tunnels"}, []string{"t.1"}, 15 * time.Second},
		{"lease", "pod:host-1a2b3c4d", "string", []string{"GET", "pod:host-1a2b3c4d"}, []string{"host-1a2b3c4d.test:7070"}, 15 * time.Second},
		{"lost a moment ago", "lost:t.4", "string", []string{"GET", "lost:t.4"}, []string{"host-1a2b3c4d"}, 60 * time.Second},
		{"slug of a claim", "slug:own", "string", []string{"GET", "slug:own"}, []string{"t.1"}, 300 * time.Second},
		{"slug cached", "slug:cached", "string", []string{"GET", "slug:cached"}, []string{"t.2"}, 60 * time.Second},
	} {
		t.Run(row.name, func(t *testing.T) {
			if kind := s.Text("TYPE", row.input); kind != row.kind {
				t.Errorf("%s is a %s, want %s", row.input, kind, row.kind)
			}
			res := s.Do(row.read...)
			got, err := res.AsStrSlice()
			if err != nil {
				one, err := res.ToString()
				if err != nil {
					t.Fatal(err)
				}
				got = []string{one}
			}
			if diff := cmp.Diff(row.want, got); diff != "" {
				t.Errorf("%v (-want +got):\n%s", row.read, diff)
			}
			life := time.Duration(s.Number("PTTL", row.input)) * time.Millisecond
			if life > row.life || life < row.life-8*time.Second {
				t.Errorf("%s lives %v, want at most %v and little less", row.input, life, row.life)
			}
		})
	}
	plain := claimOf("t.3", "host-1a2b3c4d", "s3", "")
	mustClaim(t, r, plain)
	fields, err := s.Do("HGETALL", "claim:t.3").AsStrMap()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"pod": "host-1a2b3c4d", "session": "s3", "instance": ""}, fields); diff != "" {
		t.Errorf("claim without slug (-want +got):\n%s", diff)
	}

	for _, c := range []tunnel.Claim{c, plain} {
		if err := r.Release(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff([]string{"lost:t.4", "pod:host-1a2b3c4d", "slug:cached"}, s.keys(t)); diff != "" {
		t.Errorf("keys after the release (-want +got):\n%s", diff)
	}
}

func TestCloseRemovesEveryKeyOfThePod(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	r, other := s.pod(t, "p"), s.pod(t, "q")
	for i := range 2*batch + 3 { // more than one batch
		mustClaim(t, r, claimOf(fmt.Sprint("t", i), "p", fmt.Sprint("s", i), ""))
	}
	c := claimOf("slugged", "p", "s", "")
	mustClaim(t, r, c)
	if err := r.BindSlug(t.Context(), "slug", c); err != nil {
		t.Fatal(err)
	}
	mustClaim(t, other, claimOf("theirs", "q", "s", ""))
	// One that was made and whose answer never came.
	s.Do("HSET", "claim:stray", "pod", "p", "session", "unknown", "instance", "")
	s.Do("SET", "tunnel:stray", "p")
	s.Do("SADD", "pod:p:tunnels", "stray")
	// One that another pod took meanwhile stays that one's.
	s.Do("SADD", "pod:p:tunnels", "theirs")
	if err := r.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := []string{"claim:theirs", "pod:q", "pod:q:tunnels", "tunnel:theirs"}
	if diff := cmp.Diff(want, s.keys(t)); diff != "" {
		t.Errorf("keys left (-want +got):\n%s", diff)
	}
	if _, err := r.Claim(t.Context(), claimOf("late", "p", "s", ""), ""); !errors.Is(err, registry.ErrAway) {
		t.Errorf("Claim after Close: %v, want ErrAway", err)
	}
	if keys := s.keys(t); len(keys) != len(want) {
		t.Errorf("keys after a late claim: %v", keys)
	}
}

func TestOneOfTwoPodsWins(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	two := []*Registry{s.pod(t, "p"), s.pod(t, "q")}
	for round := range 20 {
		var (
			id    = fmt.Sprint("t", round)
			start = make(chan struct{})
			all   sync.WaitGroup
			mu    sync.Mutex
			won   []tunnel.Claim
		)
		for i := range 40 {
			r := two[i%2]
			c := claimOf(id, string(r.opts.Pod), fmt.Sprint("s", i), fmt.Sprint("i", i))
			all.Go(func() {
				<-start
				_, err := r.Claim(t.Context(), c, "")
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					won = append(won, c)
				} else if !errors.Is(err, registry.ErrHeld) {
					t.Errorf("Claim: %v", err)
				}
			})
		}
		close(start)
		all.Wait()
		if len(won) != 1 {
			t.Fatalf("round %d: %d claims won, want 1", round, len(won))
		}
		if got := s.Text("GET", "tunnel:"+id); got != string(won[0].Pod) {
			t.Errorf("tunnel:%s = %q, the winner is %+v", id, got, won[0])
		}
		for _, r := range two {
			if want := r.opts.Pod == won[0].Pod; r.book.holds(won[0]) != want {
				t.Errorf("pod %s keeps the claim: %v, want %v", r.opts.Pod, !want, want)
			}
			if in := s.Number("SISMEMBER", podTunnelsKey(r.opts.Pod), id) == 1; in != (r.opts.Pod == won[0].Pod) {
				t.Errorf("pod:%s:tunnels lists %s: %v", r.opts.Pod, id, in)
			}
		}
	}
}

// What is not ours must not break us: keys of the original service, which
// knows no claims, and nonsense.
func TestForeignKeys(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	r := s.pod(t, "p")
	s.Do("SET", "tunnel:old", "python-pod")
	if _, ok, err := r.Owner(t.Context(), "old"); ok || err != nil {
		t.Errorf("Owner of a tunnel without a claim: %v, %v, want nobody", ok, err)
	}
	mustClaim(t, r, claimOf("old", "p", "s", ""))
	if got := s.Text("GET", "tunnel:old"); got != "p" {
		t.Errorf("tunnel:old = %q, want p", got)
	}

	s.Do("SET", "slug:odd", "no tunnel id!")
	if id, left, err := r.SlugCache().Get(t.Context(), "odd"); left != 0 || err != nil {
		t.Errorf("Get of a slug that names no tunnel = %q, %v, %v", id, left, err)
	}
	if _, err := r.Claim(t.Context(), claimOf("a", "q", "s", ""), ""); err == nil {
		t.Error("a claim of another pod was made")
	}
}

func TestSlugCache(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	writer := s.pod(t, "p", func(o *Options) { o.SlugTTL = 300 * time.Millisecond }).SlugCache()
	reader := s.pod(t, "q").SlugCache()
	want := func(slug tunnel.Slug, want tunnel.ID) {
		t.Helper()
		got, left, err := reader.Get(t.Context(), slug)
		if err != nil || got != want || (left > 0) != (want != "") || left > 300*time.Millisecond {
			t.Errorf("Get(%s) = %q, %v, %v, want %q", slug, got, left, err, want)
		}
	}
	want("a", "")
	want("not/a slug", "")
	if err := errors.Join(writer.Set(t.Context(), "a", "t1", time.Hour), writer.Set(t.Context(), "b", "t2", time.Hour)); err != nil {
		t.Fatal(err)
	}
	want("a", "t1")
	if err := reader.Forget(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	want("a", "")
	child.Eventually(t, 5*time.Second, "a slug lapses", func() bool {
		_, left, err := reader.Get(t.Context(), "b")
		return left == 0 && err == nil
	})
}

func TestPeer(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	r := s.pod(t, "p")
	run(t, s.pod(t, "q"))
	run(t, s.pod(t, "silent", func(o *Options) { o.PeerAddress = "" }))
	for pod, want := range map[tunnel.PodID]string{"q": "q.test:7070", "silent": ""} {
		child.Eventually(t, 5*time.Second, "the lease of "+string(pod), func() bool {
			address, ok, err := r.Peer(t.Context(), pod)
			return err == nil && ok && address == want
		})
	}
	if _, ok, err := r.Peer(t.Context(), "nobody"); ok || err != nil {
		t.Errorf("Peer of nobody: %v, %v", ok, err)
	}
}

func TestPassword(t *testing.T) {
	t.Parallel()
	s := startServer(t, "--requirepass", "secret-of-default")
	s.Do("ACL", "SETUSER", "edge", "on", ">secret-of-edge", "~*", "&*", "+@all")
	for _, row := range []struct {
		name, user, password string
		want                 error
	}{
		{"password", "", "secret-of-default", nil},
		{"user and password", "edge", "secret-of-edge", nil},
		{"wrong password", "edge", "secret-that-is-wrong", registry.ErrAway},
		{"no password", "", "", registry.ErrAway},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := s.pod(t, "p", func(o *Options) { o.Username, o.Password, o.DB = row.user, row.password, 3 })
			err := r.Ping(t.Context())
			if !errors.Is(err, row.want) {
				t.Errorf("Ping: %v, want %v", err, row.want)
			}
			if err != nil && strings.Contains(err.Error(), "secret") {
				t.Errorf("the error tells a secret: %v", err)
			}
		})
	}
	r := s.pod(t, "q", func(o *Options) { o.Password, o.DB = "secret-of-default", 3 })
	mustClaim(t, r, claimOf("a", "q", "s", ""))
	if keys := s.keys(t); len(keys) != 0 {
		t.Errorf("keys in database 0: %v, want them in 3", keys)
	}
}

func TestTLS(t *testing.T) {
	t.Parallel()
	https := httptest.NewTLSServer(http.NotFoundHandler()) // for its certificate
	defer https.Close()
	dir := t.TempDir()
	pair := https.TLS.Certificates[0]
	key, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	var files []string
	for kind, der := range map[string][]byte{"CERTIFICATE": pair.Certificate[0], "PRIVATE KEY": key} {
		name := filepath.Join(dir, strings.ReplaceAll(kind, " ", "-"))
		if err := os.WriteFile(name, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		files = append(files, name)
	}
	slices.Sort(files)
	port := child.FreePort(t)
	s := startServer(t, "--tls-port", strconv.Itoa(port), "--tls-cert-file", files[0], "--tls-key-file", files[1],
		"--tls-ca-cert-file", files[0], "--tls-auth-clients", "no")
	trusted := x509.NewCertPool()
	trusted.AddCert(https.Certificate())
	for _, row := range []struct {
		name  string
		input *tls.Config
		want  error
	}{
		{"trusted", &tls.Config{RootCAs: trusted}, nil},
		{"not trusted", &tls.Config{RootCAs: x509.NewCertPool()}, registry.ErrAway},
		{"plain", nil, registry.ErrAway},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := s.pod(t, "p", func(o *Options) { o.Port, o.TLS = port, row.input })
			if err := r.Ping(t.Context()); !errors.Is(err, row.want) {
				t.Errorf("Ping: %v, want %v", err, row.want)
			}
		})
	}
}

// calls is how often a command was run, by Redis' own count.
func calls(stats, command string) (n int) {
	_, rest, _ := strings.Cut(stats, "cmdstat_"+command+":calls=")
	n, _ = strconv.Atoi(strings.Split(rest, ",")[0]) // never called = not listed
	return n
}

// A thousand claims cost Redis one script each and the pod four round trips.
func TestThousandClaimsAreRefreshedTogether(t *testing.T) {
	t.Parallel()
	const n = 1000
	s := startServer(t)
	r := s.pod(t, "p")
	for i := range n {
		mustClaim(t, r, claimOf(fmt.Sprint("t", i), "p", fmt.Sprint("s", i), ""))
	}
	s.Do("CONFIG", "RESETSTAT")
	began := time.Now()
	if err := r.reconcile(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	took := time.Since(began)
	stats := s.Text("INFO", "commandstats")
	if got := calls(stats, "evalsha"); got != n {
		t.Errorf("%d scripts were run, want %d", got, n)
	}
	if got := calls(stats, "eval") + calls(stats, "script|load"); got > n/batch+1 {
		t.Errorf("scripts were sent %d times, want once a batch", got)
	}
	t.Logf("%d claims in %v", n, took)
	if took > 5*time.Second { // 0.1 s on an idle machine
		t.Errorf("took %v", took)
	}
}

func BenchmarkRefresh(b *testing.B) {
	s := startServer(b)
	r := s.pod(b, "p")
	const n = 1000
	for i := range n {
		if _, err := r.Claim(b.Context(), claimOf(fmt.Sprint("t", i), "p", fmt.Sprint("s", i), ""), ""); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		if err := r.reconcile(b.Context(), true); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/n, "µs/claim")
}
