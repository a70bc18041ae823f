package redis

import (
	"errors"
	"fmt"
	"io"
	"net"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/getbindu/bindu-edge/internal/relay/bus"
	"github.com/getbindu/bindu-edge/internal/relay/bus/bustest"
	"github.com/getbindu/bindu-edge/test/child"
)

// valve is a TCP proxy to Redis whose way back can be closed.
type valve struct {
	port int
	mu   sync.Mutex
	open sync.Cond
	shut bool
}

func newValve(t testing.TB, to int) *valve {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	v := &valve{port: l.Addr().(*net.TCPAddr).Port}
	v.open.L = &v.mu
	var running sync.WaitGroup
	running.Go(func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			far, err := (&net.Dialer{Control: small}).Dial("tcp", fmt.Sprint("127.0.0.1:", to))
			if err != nil {
				near.Close()
				continue
			}
			running.Go(func() {
				_, _ = io.Copy(far, near)
				far.Close()
			})
			running.Go(func() {
				v.back(near, far)
				near.Close()
			})
		}
	})
	t.Cleanup(func() {
		v.set(false)
		l.Close()
		running.Wait()
	})
	return v
}

func (v *valve) back(near, far net.Conn) {
	buf := make([]byte, 32<<10)
	for {
		v.mu.Lock()
		for v.shut {
			v.open.Wait()
		}
		v.mu.Unlock()
		n, err := far.Read(buf)
		if err != nil {
			return
		}
		if _, err := near.Write(buf[:n]); err != nil {
			return
		}
	}
}

func (v *valve) set(shut bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.shut = shut
	v.open.Broadcast()
}

// small keeps the system from buffering for Redis what Redis is to buffer.
func small(_, _ string, c syscall.RawConn) error {
	var err error
	return errors.Join(c.Control(func(fd uintptr) {
		err = errors.Join(
			syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 64<<10),
			syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_MAXSEG, 1400),
		)
	}), err)
}

// A pod that stands still must not be thrown out, whatever others send to it.
func TestRedisHoldsLittleForAPodThatReadsNothing(t *testing.T) {
	t.Parallel()
	const (
		limit = 4 << 20
		conns = 50
		whole = bus.Window / (bus.MaxFrame + bus.FrameCost) // frames that fill a window
	)
	// Redis itself ends the test if it holds more than the limit for a subscriber.
	s := startServer(t, "--client-output-buffer-limit", fmt.Sprintf("pubsub %d 0 0", limit))
	v := newValve(t, s.Port)
	still := s.broker(t, func(o *Options) { o.Port = v.port })
	still.option.ConnWriteTimeout = time.Hour // or the lines would be given up
	from, to := bustest.NewPod(t, s.broker(t), prefix(0)), bustest.NewPod(t, still, prefix(0))

	var dialed, accepted []net.Conn
	for range conns {
		c1, c2 := bustest.Pair(t, from, to)
		dialed, accepted = append(dialed, c1), append(accepted, c2)
	}
	before := published(s)
	v.set(true)
	sent := make([]byte, bus.Window)
	for _, c := range dialed {
		if _, err := c.Write(sent); err != nil {
			t.Fatal(err)
		}
	}
	child.Eventually(t, child.Patience, "every window is full", func() bool { return published(s) >= before+conns*whole })
	most, sum := 0, 0
	for line := range strings.Lines(s.Text("CLIENT", "LIST")) {
		if m := regexp.MustCompile(` omem=(\d+) `).FindStringSubmatch(line); m != nil {
			n, _ := strconv.Atoi(m[1])
			most, sum = max(most, n), sum+n
		}
	}
	t.Logf("Redis holds %d KiB, for one subscriber %d KiB", sum>>10, most>>10)
	if most > limit {
		t.Errorf("%d bytes for one subscriber", most)
	}
	if most < limit/4 {
		t.Error("somebody else kept what was sent, so this proves nothing")
	}
	v.set(false)
	for _, c := range accepted {
		if _, err := io.ReadFull(c, make([]byte, bus.Window)); err != nil {
			t.Fatalf("after it went on: %v", err)
		}
	}
}

// published is how many messages were published.
func published(s *server) int {
	m := regexp.MustCompile(`cmdstat_publish:calls=(\d+)`).FindStringSubmatch(s.Text("INFO", "commandstats"))
	if m == nil {
		return 0
	}
	n, _ := strconv.Atoi(m[1])
	return n
}
