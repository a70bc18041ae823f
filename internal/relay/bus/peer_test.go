package bus_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/getbindu/bindu-edge/internal/relay/bus"
	"github.com/getbindu/bindu-edge/internal/relay/bus/bustest"
)

// raw is a peer that may say anything.
type raw struct {
	t     *testing.T
	line  bus.Line
	token bus.Token
	peer  string      // where its frames go
	got   chan []byte // frames to it
}

func (r *raw) Deliver(data []byte) { r.got <- data }
func (r *raw) Fail(error)          {}

func newRaw(t *testing.T, b bus.Broker) *raw {
	t.Helper()
	line, err := b.Connect(t.Context(), func(error) {})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(line.Close)
	r := &raw{t: t, line: line, token: bus.Token{1, 2, 3}, got: make(chan []byte, 100)}
	if _, err := line.Subscribe(t.Context(), conn(r.token), r); err != nil {
		t.Fatal(err)
	}
	return r
}

const prefix = "test."

func conn(t bus.Token) string { return prefix + "conn-" + hex.EncodeToString(t[:]) }

func inbox(p bustest.Pod) string {
	return prefix + "pod-" + strings.NewReplacer(".", "_2e", "*", "_2a", ">", "_3e").Replace(string(p.ID))
}

func (r *raw) publish(subject string, frames ...[]byte) {
	r.t.Helper()
	if err := r.line.Publish(subject, conn(r.token), frames...); err != nil {
		r.t.Fatal(err)
	}
}

// patience bounds waits for what comes at once, if it does.
const patience = 10 * time.Second

// next is the kind of the next frame that it gets.
func (r *raw) next() bus.Kind {
	r.t.Helper()
	var frame []byte
	select {
	case frame = <-r.got:
	case <-time.After(patience):
		r.t.Fatal("no frame came")
	}
	k, _, token, err := bus.Decode(frame)
	if err != nil {
		r.t.Fatal(err)
	}
	if k == bus.KindAccept {
		r.peer = conn(token)
	}
	return k
}

// open asks p for a connection and makes it ready.
func (r *raw) open(p bustest.Pod) net.Conn {
	r.t.Helper()
	r.publish(inbox(p), bus.EncodeOpening(bus.Version, r.token, "raw\n\x1b[31m"))
	if k := r.next(); k != bus.KindAccept {
		r.t.Fatalf("the first frame is of kind %d", k)
	}
	r.publish(r.peer, bus.EncodeFrame(bus.KindReady, 0))
	accepted := make(chan net.Conn, 1)
	go func() {
		c, err := p.Listener().Accept()
		if err != nil {
			r.t.Error(err)
		}
		accepted <- c
	}()
	select {
	case c := <-accepted:
		if c == nil {
			r.t.FailNow()
		}
		r.t.Cleanup(func() { c.Close() })
		if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
			r.t.Fatal(err)
		}
		return c
	case <-time.After(patience):
		r.t.Fatal("it is ready, and was not accepted")
		return nil
	}
}

func TestAConnThatIsToldNonsenseEndsAndTellsThePeer(t *testing.T) {
	t.Parallel()
	data := func(number uint64, n int) []byte {
		return bus.EncodeFrame(bus.KindData, number, bytes.Repeat([]byte("d"), n)...)
	}
	var full [][]byte // what fits into the window, and one frame more
	for i := range uint64(bus.Window/(bus.MaxFrame+bus.FrameCost)) + 1 {
		full = append(full, data(i+1, bus.MaxPayload))
	}
	var small [][]byte
	for i := range uint64(bus.Window/bus.FrameCost) + 1 {
		small = append(small, data(i+1, 1))
	}
	for _, row := range []struct {
		name  string
		input [][]byte
		want  int // bytes that are read before the failure
	}{
		{"more than the window", full, (len(full) - 1) * bus.MaxPayload},
		{"more small frames than the window", small, bus.Window / (bus.FrameCost + bus.HeaderSize + 1)},
		{"credit above the window", [][]byte{bus.EncodeFrame(bus.KindCredit, 1, 0, 0, 0, 1)}, 0},
		{"ready twice", [][]byte{bus.EncodeFrame(bus.KindReady, 1)}, 0},
		{"accept", [][]byte{bus.EncodeFrame(bus.KindAccept, 1, append([]byte{bus.Version}, make([]byte, 16)...)...)}, 0},
		{"refuse", [][]byte{bus.EncodeFrame(bus.KindRefuse, 1, 1)}, 0},
		{"a number too high", [][]byte{data(1, 3), data(3, 3)}, 3},
		{"a number again", [][]byte{data(1, 3), data(1, 3)}, 3},
		{"a huge message", [][]byte{make([]byte, 10<<20)}, 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			b := &bustest.Memory{}
			r := newRaw(t, b)
			c := r.open(bustest.NewPod(t, b, prefix))
			for _, f := range row.input {
				if err := r.line.Publish(r.peer, "", f); errors.Is(err, bus.ErrNobody) {
					break // it has ended already
				}
			}
			if k := r.next(); k != bus.KindAbort {
				t.Errorf("the peer was told kind %d", k)
			}
			n, err := io.Copy(io.Discard, c)
			if op := (*net.OpError)(nil); !errors.As(err, &op) || op.Timeout() || int(n) != row.want {
				t.Errorf("read %d bytes and %v, want %d and why it ended", n, err, row.want)
			}
			if _, err := c.Write([]byte("x")); err == nil {
				t.Error("it still takes writes")
			}
		})
	}
}

func TestAPeerThatAbortsIsNotAnOrderlyEnd(t *testing.T) {
	t.Parallel()
	b := &bustest.Memory{}
	r := newRaw(t, b)
	c := r.open(bustest.NewPod(t, b, prefix))
	r.publish(r.peer, bus.EncodeFrame(bus.KindData, 1, 'x'), bus.EncodeFrame(bus.KindAbort, 2))
	got, err := io.ReadAll(c)
	if op := (*net.OpError)(nil); string(got) != "x" || !errors.As(err, &op) || op.Timeout() {
		t.Errorf("read %q, %v", got, err)
	}
}

func TestAddressesAreFitForALog(t *testing.T) {
	t.Parallel()
	b := &bustest.Memory{}
	p := bustest.NewPod(t, b, prefix)
	c := newRaw(t, b).open(p)
	for _, row := range []struct{ name, input, want string }{
		{"remote", c.RemoteAddr().String(), "raw??[31m"},
		{"local", c.LocalAddr().String(), string(p.ID)},
		{"listener", p.Listener().Addr().String(), string(p.ID)},
		{"network", c.RemoteAddr().Network(), "bus"},
	} {
		if row.input != row.want {
			t.Errorf("%s: %q, want %q", row.name, row.input, row.want)
		}
	}
}

func TestAnOpeningThatIsNotFinishedTimesOut(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := &bustest.Memory{}
		p := bustest.NewPod(t, b, prefix)
		r := newRaw(t, b)
		before := b.Subscriptions()
		r.publish(inbox(p), bus.EncodeOpening(bus.Version, r.token, "raw"))
		if k := r.next(); k != bus.KindAccept {
			t.Fatalf("kind %d", k)
		}
		start := time.Now()
		if k := r.next(); k != bus.KindAbort {
			t.Errorf("kind %d", k)
		}
		if waited := time.Since(start); waited != bus.OpenTimeout {
			t.Errorf("given up after %v", waited)
		}
		synctest.Wait()
		if got := b.Subscriptions(); got != before {
			t.Errorf("%d subscriptions, %d before", got, before)
		}
	})
}

func TestAFloodOfOpeningsIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := &bustest.Memory{}
		p, other := bustest.NewPod(t, b, prefix), bustest.NewPod(t, b, prefix)
		established, accepted := bustest.Pair(t, other, p)
		r := newRaw(t, b)
		before := b.Subscriptions()
		most := 0
		for range 20 {
			for range 500 {
				r.publish(inbox(p), bus.EncodeOpening(bus.Version, r.token, "raw"))
			}
			synctest.Wait()
			most = max(most, b.Subscriptions()-before)
			for len(r.got) > 0 {
				<-r.got
			}
			<-time.After(100 * time.Millisecond)
		}
		if most != bus.MaxOpening {
			t.Errorf("%d openings at once, want %d", most, bus.MaxOpening)
		}
		if _, err := other.Dial(t.Context(), p.ID); err == nil || !strings.Contains(err.Error(), "too many") {
			t.Errorf("Dial in a flood = %v", err)
		}
		if _, err := established.Write([]byte("x")); err != nil {
			t.Error(err)
		}
		if _, err := accepted.Read(make([]byte, 1)); err != nil {
			t.Error(err)
		}
		<-time.After(bus.OpenTimeout)
		synctest.Wait()
		bustest.Pair(t, other, p)
	})
}

func TestAnotherVersionIsRefused(t *testing.T) {
	t.Parallel()
	b := &bustest.Memory{}
	r := newRaw(t, b)
	r.publish(inbox(bustest.NewPod(t, b, prefix)), bus.EncodeOpening(bus.Version+1, r.token, "raw"))
	if k := r.next(); k != bus.KindRefuse {
		t.Errorf("kind %d", k)
	}
}

func TestCloseSendsNoLongerThanLinger(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := &bustest.Memory{}
		from, to := bustest.NewPod(t, b, prefix), bustest.NewPod(t, b, prefix)
		before := b.Subscriptions()
		stalled := bustest.Stall(t, from, to, 1)[0]
		start := time.Now()
		if err := stalled.Close(); err != nil || time.Since(start) != 0 {
			t.Errorf("Close = %v after %v", err, time.Since(start))
		}
		<-time.After(bus.Linger - 1)
		synctest.Wait()
		if got := b.Subscriptions(); got != before+2 {
			t.Errorf("%d subscriptions while it lingers, %d before", got, before)
		}
		<-time.After(1)
		synctest.Wait()
		if got := b.Subscriptions(); got != before {
			t.Errorf("%d subscriptions at last, %d before", got, before)
		}
	})
}

func TestLinesAreOpenedAndClosedWithTheirConns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := &bustest.Memory{}
		from, to := bustest.NewPod(t, b, prefix), bustest.NewPod(t, b, prefix)
		const inboxes = 2
		var conns []net.Conn
		for i := range 3 * bus.Seats {
			c1, c2 := bustest.Pair(t, from, to)
			conns = append(conns, c1, c2)
			if got, want := b.Lines(), inboxes+2*(1+i/bus.Seats); got != want {
				t.Fatalf("%d lines for %d conns, want %d", got, i+1, want)
			}
		}
		slices.Reverse(conns)
		for _, c := range conns {
			c.Close()
		}
		synctest.Wait()
		if got, want := b.Lines(), inboxes+2; got != want {
			t.Errorf("%d lines for no conns, want %d", got, want)
		}
	})
}

func TestAPodHasAMostOfConns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := &bustest.Memory{}
		from, to := bustest.NewPod(t, b, prefix), bustest.NewPod(t, b, prefix)
		for range bus.MaxConns {
			bustest.Pair(t, from, to)
			<-time.After(20 * time.Millisecond) // slower than openings are looked at
		}
		if _, err := from.Dial(t.Context(), to.ID); !errors.Is(err, bus.ErrFull) {
			t.Errorf("Dial of one too many = %v", err)
		}
		third := bustest.NewPod(t, b, prefix)
		if _, err := third.Dial(t.Context(), to.ID); err == nil || !strings.Contains(err.Error(), "too many") {
			t.Errorf("Dial of a pod that is full = %v", err)
		}
	})
}

func TestAListenerThatIsClosedRefuses(t *testing.T) {
	t.Parallel()
	b := &bustest.Memory{}
	from, to := bustest.NewPod(t, b, prefix), bustest.NewPod(t, b, prefix)
	if err := errors.Join(to.Listener().Close(), to.Listener().Close()); err != nil {
		t.Errorf("Close: %v", err)
	}
	if _, err := to.Listener().Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept = %v", err)
	}
	if _, err := from.Dial(t.Context(), to.ID); !errors.Is(err, bus.ErrLeaving) {
		t.Errorf("Dial = %v", err)
	}
}

func TestDialEndsWithItsContext(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name  string
		input func(release chan struct{}) // what becomes of the opening
	}{
		{"it was lost", func(chan struct{}) {}},
		{"the broker takes nothing", func(release chan struct{}) { <-release }},
	} {
		synctest.Test(t, func(t *testing.T) {
			b := &bustest.Memory{}
			release := make(chan struct{})
			bad := &bustest.Tamper{Broker: b, Change: func(subject string, f []byte) [][]byte {
				if strings.Contains(subject, "pod-") {
					row.input(release)
					return nil
				}
				return [][]byte{f}
			}}
			from, to := bustest.NewPod(t, bad, prefix), bustest.NewPod(t, b, prefix)
			before := b.Subscriptions()
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			start := time.Now()
			_, err := from.Dial(ctx, to.ID)
			if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 2*time.Second {
				t.Errorf("%s: Dial = %v after %v", row.name, err, time.Since(start))
			}
			close(release)
			synctest.Wait()
			if got := b.Subscriptions(); got != before {
				t.Errorf("%s: %d subscriptions, %d before", row.name, got, before)
			}
		})
	}
}

func TestItIsBackSoonAfterTheBus(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := &bustest.Memory{}
		from, to := bustest.NewPod(t, b, prefix), bustest.NewPod(t, b, prefix)
		c, _ := bustest.Pair(t, from, to)
		b.Stop()
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, bus.ErrAway) {
			t.Errorf("Read = %v, want ErrAway", err)
		}
		<-time.After(time.Hour)
		start := time.Now()
		if _, err := from.Dial(t.Context(), to.ID); !errors.Is(err, bus.ErrAway) || time.Since(start) != 0 {
			t.Errorf("Dial = %v after %v, want ErrAway at once", err, time.Since(start))
		}
		b.Start()
		<-time.After(2 * time.Second)
		bustest.Pair(t, from, to)
	})
}

func TestTheFramesOfTheSuiteAreThoseOfThePackage(t *testing.T) {
	t.Parallel()
	want := bus.EncodeFrame(bus.KindData, 3, 'x')
	if !bustest.IsData(want, 3) || bustest.IsData(want, 4) || bustest.IsData(bus.EncodeFrame(bus.KindCredit, 3), 3) {
		t.Error("the suite knows another form of data frame")
	}
}
