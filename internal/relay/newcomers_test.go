package relay

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/getbindu/bindu-edge/internal/tunnel"
	"github.com/getbindu/bindu-edge/test/metrictest"
)

// from is a connection from an address, which counts how many of its kind are
// open.
type from struct {
	net.Conn
	addr net.Addr
	open *atomic.Int64
	once sync.Once
}

func (c *from) RemoteAddr() net.Addr { return c.addr }

func (c *from) Close() error {
	c.once.Do(func() { c.open.Add(-1) })
	return c.Conn.Close()
}

// crossing is a listener at which connections have addresses.
type crossing struct {
	*pipeListener
	open, most atomic.Int64 // those that the server has, and had at once
}

func (l *crossing) dialFrom(t *testing.T, addr string) net.Conn {
	t.Helper()
	near, far := net.Pipe()
	t.Cleanup(func() { _ = near.Close() })
	tcp, err := net.ResolveTCPAddr("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Give(t.Context(), &from{Conn: far, addr: tcp, open: &l.open}); err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
	l.most.Store(max(l.most.Load(), l.open.Add(1)))
	return near
}

// pod is a door at an address.
func (l *crossing) pod(t *testing.T, addr string) *Client {
	t.Helper()
	return client(t, dialFunc(func(context.Context, tunnel.PodID) (net.Conn, error) { return l.dialFrom(t, addr), nil }))
}

func (l *crossing) serve(t *testing.T, log *slog.Logger, metrics prometheus.Registerer) {
	t.Helper()
	s := NewServer(ServerOptions{Pod: holder, Identity: secret(t, ours), Links: fakeLinks{text("ok")}, Logger: log, Metrics: metrics})
	var serving sync.WaitGroup
	serving.Go(func() {
		if err := s.Serve(l); err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	t.Cleanup(func() {
		_ = s.Close()
		serving.Wait()
	})
}

// isOpen says whether the server still has the other end.
func isOpen(raw net.Conn) bool {
	return raw.SetDeadline(time.Time{}) == nil // which net.Pipe refuses when either end is closed
}

// greet sends a ClientHello and no more.
func greet(t *testing.T, raw net.Conn) {
	t.Helper()
	config, err := secret(t, theirs).config()
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = tls.Client(deaf{raw}, config).HandshakeContext(t.Context()) }()
	synctest.Wait()
}

// deaf is a connection at which nothing is read.
type deaf struct{ net.Conn }

func (c deaf) Read([]byte) (int, error) { return 0, net.ErrClosed }

// A pod gets in while strangers who say nothing come again and again, from its own
// address and others; at no time are more of them there than may be.
func TestPodsGetInDuringAFlood(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name  string
		flood func(n int) string
		pod   string
	}{
		{"from one address", func(int) string { return "192.0.2.1:1" }, "192.0.2.2:1"},
		{"from the pod's address", func(int) string { return "192.0.2.1:1" }, "192.0.2.1:2"},
		{"each from another address", func(n int) string { return fmt.Sprintf("192.0.2.%d:1", n%250+1) }, "203.0.113.1:1"},
		{"IPv6", func(n int) string { return fmt.Sprintf("[2001:db8::%x]:1", n+1) }, "[2001:db8:1::1]:1"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				l := &crossing{pipeListener: newPipeListener()}
				l.serve(t, nil, nil)
				inside := l.pod(t, row.pod)
				defer inside.Close()
				answers(t, inside.To(holder, "t"), "ok")
				for n := range 20 * maxUnproven {
					l.dialFrom(t, row.flood(n))
					if n%maxUnproven == maxUnproven/2 {
						c := l.pod(t, row.pod)
						began := time.Now()
						answers(t, c.To(holder, "t"), "ok")
						answers(t, inside.To(holder, "t"), "ok")
						if took := time.Since(began); took > time.Millisecond {
							t.Errorf("a pod was kept waiting for %s", took)
						}
						c.Close()
						synctest.Wait()
					}
					<-time.After(time.Millisecond)
				}
				if most, may := l.most.Load(), int64(maxUnproven+2); most > may { // two pods are in
					t.Errorf("%d connections at once, want at most %d", most, may)
				}
				<-time.After(ProofTimeout)
				synctest.Wait()
				if left := l.open.Load(); left != 1 {
					t.Errorf("%d connections are left, want that of the pod", left)
				}
			})
		})
	}
}

// The oldest of the address that has the most makes room, and nobody before there
// is none left.
func TestWhoMakesRoom(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name  string
		addr  func(n int) string // of the newcomers, in turn
		begun func(n int) bool   // which of them have; nil = none
		goes  int                // which of them
	}{
		{"all from one address", func(int) string { return "192.0.2.1:1" }, nil, 0},
		{"each from another", func(n int) string { return fmt.Sprintf("192.0.2.%d:1", n+1) }, nil, 0},
		{"one with two among many", func(n int) string { return fmt.Sprintf("192.0.2.%d:1", min(n, 62)) }, nil, 62},
		{"half and half, and one", func(n int) string { return fmt.Sprintf("192.0.2.%d:1", (n+1)%2) }, nil, 0},
		{"a few before the many", func(n int) string { return fmt.Sprintf("192.0.2.%d:1", n/10) }, nil, 0},
		{"a few, then the many", func(n int) string { return fmt.Sprintf("192.0.2.%d:1", min(n/10, 4)) }, nil, 40},
		{"IPv6 of one /64", func(n int) string {
			if n < 5 {
				return fmt.Sprintf("[2001:db8:%x::1]:1", n+1)
			}
			return fmt.Sprintf("[2001:db8::%x]:1", n)
		}, nil, 5},
		{"IPv4 in IPv6", func(n int) string {
			return []string{"192.0.2.9:1", "192.0.2.1:1", "[::ffff:192.0.2.1]:1"}[min(n, 1+n%2)]
		}, nil, 1},
		{"who has begun stays", func(int) string { return "192.0.2.1:1" }, func(n int) bool { return n < 32 }, 32},
		{"until that is more than half", func(int) string { return "192.0.2.1:1" }, func(n int) bool { return n > 30 }, 0},
		{"also of an address with more", func(n int) string { return fmt.Sprintf("192.0.2.%d:1", n/31) }, func(n int) bool { return n < 31 }, 31},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				l := &crossing{pipeListener: newPipeListener()}
				l.serve(t, nil, nil)
				var all []net.Conn
				for n := range maxUnproven {
					raw := l.dialFrom(t, row.addr(n))
					all = append(all, raw)
					if row.begun != nil && row.begun(n) {
						greet(t, raw)
					}
				}
				synctest.Wait()
				gone := func() (gone []int) {
					for n, raw := range all {
						if !isOpen(raw) {
							gone = append(gone, n)
						}
					}
					return gone
				}
				if early := gone(); len(early) > 0 {
					t.Fatalf("%v had to go though there was room", early)
				}
				last := l.dialFrom(t, "203.0.113.1:1")
				if got := gone(); len(got) != 1 || got[0] != row.goes {
					t.Errorf("%v went, want %d", got, row.goes)
				}
				if !isOpen(last) {
					t.Error("the newcomer went")
				}
			})
		})
	}
}

// How it ends with newcomers is counted, and what an operator should look at is
// logged, once a minute each.
func TestNewcomersAreCounted(t *testing.T) {
	t.Parallel()
	proof := func(t *testing.T, raw net.Conn, secretOf string, wanted tunnel.PodID) {
		t.Helper()
		conn, err := secret(t, secretOf).dial(t.Context(), raw, door, wanted)
		if err == nil {
			_ = conn.Close()
		}
	}
	for _, row := range []struct {
		name   string
		come   func(*testing.T, *crossing)
		want   map[newcomerOutcome]float64
		logged int
	}{
		{"a pod", func(t *testing.T, l *crossing) { proof(t, l.dialFrom(t, "192.0.2.1:1"), ours, holder) }, map[newcomerOutcome]float64{newcomerProven: 1}, 0},
		{"another secret", func(t *testing.T, l *crossing) { proof(t, l.dialFrom(t, "192.0.2.1:1"), theirs, holder) }, map[newcomerOutcome]float64{newcomerUnproven: 1}, 1},
		{"a pod that wants another", func(t *testing.T, l *crossing) { proof(t, l.dialFrom(t, "192.0.2.1:1"), ours, "holder-0") }, map[newcomerOutcome]float64{newcomerMistaken: 1}, 0},
		{"silence", func(t *testing.T, l *crossing) {
			for range 3 {
				l.dialFrom(t, "192.0.2.1:1")
			}
			<-time.After(ProofTimeout + 1)
		}, map[newcomerOutcome]float64{newcomerLate: 3}, 1},
		{"one that looks and leaves", func(t *testing.T, l *crossing) { _ = l.dialFrom(t, "192.0.2.1:1").Close() }, map[newcomerOutcome]float64{newcomerFailed: 1}, 0},
		{"too many", func(t *testing.T, l *crossing) {
			for range maxUnproven + 5 {
				l.dialFrom(t, "192.0.2.1:1")
			}
		}, map[newcomerOutcome]float64{newcomerCrowded: 5}, 1},
		{"an hour of silence", func(t *testing.T, l *crossing) {
			for range 3600 {
				l.dialFrom(t, "192.0.2.1:1")
				<-time.After(time.Second)
			}
			<-time.After(ProofTimeout)
		}, map[newcomerOutcome]float64{newcomerLate: 3600}, 60},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var log notes
				registry := prometheus.NewRegistry()
				l := &crossing{pipeListener: newPipeListener()}
				l.serve(t, slog.New(&log), registry)
				want := map[string]float64{}
				for outcome, n := range row.want {
					want[`bindu_edge_newcomers_total{outcome="`+string(outcome)+`"}`] = n
				}
				metrictest.Want(t, registry, want, func() {
					row.come(t, l)
					synctest.Wait()
				})
				if n := log.warnings(); n != row.logged {
					t.Errorf("%d warnings, want %d", n, row.logged)
				}
			})
		})
	}
}
