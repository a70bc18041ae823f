package e2e

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// siege is a pod of the program as it ships, on a TLS listener, with two tunnels:
// one that is attacked, and one whose callers must not notice.
type siege struct {
	*edge
	t               *testing.T
	plane           *plane
	ca              *authority
	attacked, quiet credentials
	agents          []*process
	caller          *http.Client // of the quiet tunnel
	before          siegeState
	lasts           time.Duration // how long attackers go on with one shape, at most, once all are there
	came            atomic.Int64  // connections of attackers
	all             int64         // how many there have to be
	there           chan struct{} // closed when there are
}

// siegeState is what the pod has while nobody asks anything.
type siegeState struct {
	heap, goroutines float64
	resident         int64
}

func (s siegeState) String() string {
	return fmt.Sprintf("heap %.1f MiB, resident %d MiB, %.0f goroutines", s.heap/mib, s.resident/mib, s.goroutines)
}

const (
	// besideAttack is how soon another tunnel's request is answered.
	besideAttack = time.Second

	siegeGoroutines = 5
	siegeHeap       = 6 * mib
	siegeResident   = 96 * mib // free memory goes back to the system in its own time
)

// startSiege starts the pod and its tunnels; origin is behind the attacked one.
func startSiege(t *testing.T, lasts time.Duration, origin http.Handler, env ...string) *siege {
	t.Helper()
	program, err := plainBinary()
	if err != nil {
		t.Fatal(err)
	}
	s := &siege{t: t, lasts: lasts, plane: startPlane(t), ca: newAuthority(t)}
	pair := newKeyPair(t)
	s.ca.issue(t, pair, 2)
	env = append(env, fmt.Sprint("WS_PING_INTERVAL_SECONDS=", pings.Seconds()))
	env = edgeEnv(t, s.plane, append(serveTLS(pair), env...)...)
	s.edge = &edge{env: env}
	for _, v := range env {
		if port, ok := strings.CutPrefix(v, "PORT="); ok {
			s.addr = "127.0.0.1:" + port
			s.url = "https://" + s.addr
		}
		if admin, ok := strings.CutPrefix(v, "ADMIN_ADDR="); ok {
			s.admin = "http://" + admin
		}
	}
	s.process = startProgram(t, "edge", program, env, "serve")
	s.waitLine(`"serving"`, 1)
	s.attacked, s.quiet = s.plane.create(t, "attacked"), s.plane.create(t, "quiet")
	s.agents = []*process{
		linkTo(t, s.ca, s.url, s.attacked, startOrigin(t, origin)),
		linkTo(t, s.ca, s.url, s.quiet, startOrigin(t, echo)),
	}
	s.caller = s.ca.caller(t, false)
	s.caller.Timeout = patience
	for _, http2 := range []bool{false, true} { // what the first request needs once
		c := s.ca.caller(t, http2)
		if a := fetch(t, c, s.path(s.attacked, "/")); a.StatusCode != http.StatusOK {
			t.Fatalf("before all: %d %s", a.StatusCode, a.body)
		}
		c.CloseIdleConnections()
	}
	s.before = s.state(true)
	return s
}

func (s *siege) state(gc bool) siegeState {
	s.t.Helper()
	m := s.metrics(gc)
	return siegeState{m["go_memstats_heap_alloc_bytes"], m["go_goroutines"], s.memory("VmRSS")}
}

// shape attacks from n connections at once, while a caller of the quiet tunnel
// asks again and again. How the attackers' connections end is nobody's concern.
func (s *siege) shape(name string, n int, attack func(ctx context.Context, i int)) {
	s.t.Helper()
	s.t.Run(name, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		stop, asked := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(asked)
			s.ask(ctx, t, stop)
		}()
		var attackers sync.WaitGroup
		attacking, end := context.WithCancel(ctx)
		defer end()
		s.all, s.there = int64(n), make(chan struct{})
		for i := range n {
			attackers.Go(func() { attack(attacking, i) })
		}
		select {
		case <-s.there:
			defer time.AfterFunc(s.lasts, end).Stop()
		case <-ctx.Done():
		}
		attackers.Wait()
		close(stop)
		<-asked
		if s.came.Swap(0) < int64(n) {
			t.Error("not all attackers got in")
		}
	})
}

// attack is one shape, from one connection; deaf to what the edge says or not.
type attack struct {
	name string
	run  func(ctx context.Context, deaf bool)
}

// together are how many shapes are tried at once, which saves time.
const together = 5

// shapes tries many shapes, some at a time, each from two connections.
func (s *siege) shapes(all []attack) {
	s.t.Helper()
	for some := range slices.Chunk(all, together) {
		var names []string
		for _, a := range some {
			names = append(names, a.name)
		}
		s.shape(strings.Join(names, ", "), 2*len(some), func(ctx context.Context, i int) { some[i/2].run(ctx, i%2 == 0) })
	}
}

// ask asks the quiet tunnel until stop, and once more.
func (s *siege) ask(ctx context.Context, t *testing.T, stop <-chan struct{}) {
	pause := time.NewTicker(20 * time.Millisecond)
	defer pause.Stop()
	var longest time.Duration
	var at time.Time // when that one was asked
	for last := false; !last; {
		select {
		case <-stop:
			last = true
		case <-pause.C:
		}
		began := time.Now()
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.path(s.quiet, "/quiet"), nil)
		if err != nil {
			t.Error(err)
			return
		}
		res, err := s.caller.Do(req)
		if err != nil {
			t.Errorf("another tunnel's request: %v", err)
			return
		}
		_, err = io.Copy(io.Discard, res.Body)
		_ = res.Body.Close()
		if err != nil || res.StatusCode != http.StatusOK {
			t.Errorf("another tunnel's request: %d, %v", res.StatusCode, err)
			return
		}
		if took := time.Since(began); took > longest {
			longest, at = took, began
		}
	}
	wantTook(t, "another tunnel's request", at, longest, besideAttack)
	t.Logf("another tunnel's requests took at most %s", longest.Round(time.Millisecond))
}

// wantAsBefore waits until the pod is as it was, once all attackers have left.
func (s *siege) wantAsBefore() {
	s.t.Helper()
	s.caller.CloseIdleConnections()
	s.plane.hangUp()
	var now siegeState
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for began := time.Now(); ; <-tick.C {
		now = s.state(true)
		if now.goroutines <= s.before.goroutines+siegeGoroutines && now.heap <= s.before.heap+siegeHeap && now.resident <= s.before.resident+siegeResident {
			break
		}
		if time.Since(began) > patience {
			s.t.Errorf("the pod is not as it was: %s, before %s", now, s.before)
			if now.goroutines > s.before.goroutines+siegeGoroutines {
				s.t.Log(get(s.t, s.admin+"/debug/pprof/goroutine?debug=1").body)
			}
			break
		}
	}
	s.t.Logf("before: %s", s.before)
	s.t.Logf("after:  %s", now)
	for i, a := range s.agents {
		if n := a.count("STATUS online"); n != 1 {
			s.t.Errorf("agent %d had to link %d times", i, n)
		}
	}
	if a := fetch(s.t, s.caller, s.path(s.attacked, "/after")); a.StatusCode != http.StatusOK {
		s.t.Errorf("the attacked tunnel answers with %d %s afterwards", a.StatusCode, a.body)
	}
	if n := s.count(`"panic"`) + s.count("panic:"); n != 0 {
		s.t.Errorf("%d panics", n)
	}
}

// dial opens a TLS connection that speaks protocol (http/1.1, h2). It fails quietly:
// refusing an attacker's connection is right.
func (s *siege) dial(ctx context.Context, protocol string) (net.Conn, error) {
	conn, err := s.dialTCP(ctx)
	if err != nil {
		return nil, err
	}
	secure := tls.Client(conn, &tls.Config{RootCAs: s.ca.Roots, NextProtos: []string{protocol}, ServerName: "127.0.0.1"})
	if err := secure.HandshakeContext(ctx); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return secure, nil
}

// dialTCP opens a connection that ends with ctx, whatever waits for it.
func (s *siege) dialTCP(ctx context.Context) (net.Conn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", s.addr)
	if err != nil {
		return nil, err
	}
	if s.came.Add(1) == s.all {
		close(s.there)
	}
	context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	return conn, nil
}

// head begins a request of HTTP/1.1 for the attacked tunnel.
func (s *siege) head(method, path string, lines ...string) string {
	return method + " /local_tunnel/" + string(s.attacked.slug) + path + " HTTP/1.1\r\nHost: " + s.addr + "\r\n" +
		strings.Join(append(lines, ""), "\r\n")
}

// framer writes frames that no HTTP/2 implementation would.
type framer struct {
	*http2.Framer
	conn  net.Conn
	out   *bufio.Writer
	block strings.Builder
	hpack *hpack.Encoder
}

func newFramer(conn net.Conn) *framer {
	f := &framer{conn: conn, out: bufio.NewWriterSize(conn, 16<<10)}
	f.Framer = http2.NewFramer(f.out, conn)
	f.AllowIllegalWrites = true
	f.hpack = hpack.NewEncoder(&f.block)
	return f
}

// header encodes fields, in pairs of name and value.
func (f *framer) header(fields ...string) []byte {
	f.block.Reset()
	for i := 0; i < len(fields); i += 2 {
		_ = f.hpack.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]}) // a Builder takes all
	}
	return []byte(f.block.String())
}

// headers opens a stream with a header of these fields.
func (f *framer) headers(stream uint32, end bool, fields ...string) error {
	return f.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: f.header(fields...), EndHeaders: true, EndStream: end})
}

// repeat writes the same again and again, until the peer has had enough.
func (f *framer) repeat(n int, write func(i uint32) error) error {
	for i := range n {
		if err := write(uint32(i)); err != nil { //nolint:gosec // small
			return err
		}
	}
	return f.out.Flush()
}
