package relay

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/getbindu/bindu-edge/internal/fault"
	"github.com/getbindu/bindu-edge/internal/h2"
	"github.com/getbindu/bindu-edge/internal/tunnel"
)

// client makes the Client of pod door.
func client(t testing.TB, d Dialer) *Client {
	return NewClient(Options{Pod: door, Dialer: d, Identity: secret(t, ours)})
}

// All that want to go to a pod share one attempt, and then one connection.
func TestManyRequestsOneAttempt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l, _ := served(t, text("ok"))
		var dials atomic.Int64
		open := make(chan struct{})
		c := client(t, dialFunc(func(ctx context.Context, _ tunnel.PodID) (net.Conn, error) {
			dials.Add(1)
			<-open
			return l.dial(ctx)
		}))
		defer c.Close()
		var callers sync.WaitGroup
		for range 50 {
			callers.Go(func() { answers(t, c.To(holder, "t"), "ok") })
		}
		synctest.Wait()
		close(open)
		callers.Wait()
		answers(t, c.To(holder, "t"), "ok")
		if n := dials.Load(); n != 1 {
			t.Errorf("dialled %d times", n)
		}
	})
}

// The attempt goes on when the caller who caused it leaves.
func TestAnAttemptOutlivesItsCaller(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l, _ := served(t, text("ok"))
		var dials atomic.Int64
		c := client(t, dialFunc(func(ctx context.Context, _ tunnel.PodID) (net.Conn, error) {
			dials.Add(1)
			<-time.After(ConnectTimeout / 2)
			return l.dial(ctx)
		}))
		defer c.Close()
		why := errors.New("left")
		ctx, leave := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Millisecond, func() { leave(why) })
		if _, err := c.To(holder, "t").RoundTrip(get(ctx, t)); !errors.Is(err, why) || errors.Is(err, fault.ErrNotDelivered) {
			t.Errorf("got %v, want the context's cause", err)
		}
		answers(t, c.To(holder, "t"), "ok")
		if n := dials.Load(); n != 1 {
			t.Errorf("dialled %d times", n)
		}
	})
}

// Wherever an attempt hangs it ends in time, and requests to another pod are
// served meanwhile.
func TestAHangingAttemptEnds(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name string
		far  func(context.Context, net.Conn) // what stands there; nil: nobody accepts
	}{
		{"in the dial", nil},
		{"before TLS", func(ctx context.Context, _ net.Conn) { <-ctx.Done() }},
		{"before the proof", func(ctx context.Context, far net.Conn) {
			config, _ := secret(t, theirs).config()
			_, _ = io.Copy(io.Discard, newPeerConn(tlsServer(far, config), newRecordConn(far), door))
			<-ctx.Done()
		}},
		{"before HTTP/2", func(ctx context.Context, far net.Conn) {
			conn, err := secret(t, ours).accept(ctx, far, "stuck-1", nil)
			if err != nil {
				t.Error(err)
				return
			}
			_, _ = io.Copy(io.Discard, conn)
			<-ctx.Done()
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				l, _ := served(t, text("ok"))
				over, end := context.WithCancel(context.Background())
				c := client(t, dialFunc(func(ctx context.Context, pod tunnel.PodID) (net.Conn, error) {
					if pod == holder {
						return l.dial(ctx)
					}
					if row.far == nil {
						<-ctx.Done()
						return nil, context.Cause(ctx)
					}
					near, far := net.Pipe()
					go row.far(over, far)
					return near, nil
				}))
				defer c.Close()
				defer end()
				began := time.Now()
				var stuck sync.WaitGroup
				for range 3 {
					stuck.Go(func() {
						_, err := ask(t, c.To("stuck-1", "t"))
						notMade(t, err)
						if took := time.Since(began); took != 2*time.Second {
							t.Errorf("it took %s", took)
						}
					})
				}
				synctest.Wait()
				answers(t, c.To(holder, "t"), "ok")
				if took := time.Since(began); took != 0 {
					t.Errorf("another pod was kept waiting for %s", took)
				}
				stuck.Wait()
			})
		})
	}
}

// A failure stands for a moment for all that ask, and then it is tried again.
func TestAFailureStandsForAMoment(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l, _ := served(t, text("ok"))
		var dials atomic.Int64
		var away atomic.Bool
		away.Store(true)
		no := errors.New("no way")
		c := client(t, dialFunc(func(ctx context.Context, _ tunnel.PodID) (net.Conn, error) {
			dials.Add(1)
			if away.Load() {
				return nil, no
			}
			return l.dial(ctx)
		}))
		defer c.Close()
		fails := func(want int64) {
			t.Helper()
			_, err := ask(t, c.To(holder, "t"))
			notMade(t, err)
			if !errors.Is(err, no) || dials.Load() != want {
				t.Errorf("got %v after %d attempts, want %d", err, dials.Load(), want)
			}
		}
		fails(1)
		fails(1)
		<-time.After(pause - 1)
		fails(1)
		away.Store(false)
		fails(1)
		<-time.After(1)
		answers(t, c.To(holder, "t"), "ok")
	})
}

// A connection that ended is replaced at once.
func TestALostConnectionIsReplaced(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l, _ := served(t, text("ok"))
		var wires []net.Conn
		c := client(t, dialFunc(func(ctx context.Context, _ tunnel.PodID) (net.Conn, error) {
			conn, err := l.dial(ctx)
			wires = append(wires, conn)
			return conn, err
		}))
		defer c.Close()
		for n := range 3 {
			answers(t, c.To(holder, "t"), "ok")
			if len(wires) != n+1 {
				t.Fatalf("%d connections, want %d", len(wires), n+1)
			}
			_ = wires[n].Close()
			synctest.Wait()
			if len(c.peers) != 0 {
				t.Errorf("%d pods are known of which there is nothing", len(c.peers))
			}
		}
	})
}

// slow is a context whose owner comes to look at its end only when told to.
type slow struct {
	context.Context //nolint:containedctx // this is a context itself, and wraps another one
	on              <-chan struct{}
}

func (c slow) Done() <-chan struct{} {
	<-c.on
	return c.Context.Done()
}

// A connection may have ended before those who waited for it get to use it.
func TestAConnectionEndsBeforeItIsUsed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l, _ := served(t, text("ok"))
		wires := make(chan net.Conn, 2)
		c := client(t, dialFunc(func(ctx context.Context, _ tunnel.PodID) (net.Conn, error) {
			conn, err := l.dial(ctx)
			wires <- conn
			return conn, err
		}))
		defer c.Close()
		on := make(chan struct{})
		var caller sync.WaitGroup
		caller.Go(func() {
			_, err := c.To(holder, "t").RoundTrip(get(slow{t.Context(), on}, t))
			notMade(t, err)
			if !errors.Is(err, ErrLeft) {
				t.Errorf("got %v, want %v", err, ErrLeft)
			}
		})
		synctest.Wait() // the connection stands
		_ = (<-wires).Close()
		synctest.Wait()
		if len(c.peers) != 0 {
			t.Errorf("%d pods are known of which there is nothing", len(c.peers))
		}
		close(on)
		caller.Wait()
		answers(t, c.To(holder, "t"), "ok")
	})
}

// A worn connection gets no new requests, and ends after its last.
func TestAWornConnectionIsReplaced(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newPipeListener()
		finish := make(chan struct{})
		_, stop := serve(t, l, secret(t, ours), func(r *http.Request) (*http.Response, error) {
			<-finish
			return text("ok")(r)
		}, nil)
		defer stop()
		worn := make(chan struct{})
		var first atomic.Pointer[h2.Conn]
		c := client(t, l)
		c.worn = func(conn *h2.Conn) <-chan struct{} {
			if first.CompareAndSwap(nil, conn) || first.Load() == conn {
				return worn
			}
			return nil
		}
		defer c.Close()
		var early, late sync.WaitGroup
		early.Go(func() { answers(t, c.To(holder, "t"), "ok") })
		synctest.Wait()
		close(worn)
		late.Go(func() { answers(t, c.To(holder, "t"), "ok") })
		<-time.After(time.Minute)
		if n := first.Load().InFlight(); n != 1 {
			t.Errorf("the worn connection has %d requests", n)
		}
		close(finish)
		early.Wait()
		late.Wait()
		<-first.Load().Done()
		answers(t, c.To(holder, "t"), "ok")
	})
}

// Close ends what is open, be it in use, leaving or half made, and waits for it.
func TestCloseEndsAll(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l, s := served(t, func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		})
		c := client(t, dialFunc(func(ctx context.Context, pod tunnel.PodID) (net.Conn, error) {
			if pod == holder {
				return l.dial(ctx)
			}
			<-ctx.Done()
			return nil, ctx.Err()
		}))
		var callers sync.WaitGroup
		for _, pod := range []tunnel.PodID{holder, "stuck-1"} {
			callers.Go(func() {
				if _, err := ask(t, c.To(pod, "t")); err == nil {
					t.Errorf("%s answered", pod)
				}
			})
		}
		synctest.Wait()
		callers.Go(func() { _ = s.Shutdown(t.Context()) }) // the connection is leaving now
		synctest.Wait()
		c.Close()
		callers.Wait()
		_, err := ask(t, c.To(holder, "t"))
		notMade(t, err)
		c.Close()
	})
}

// The table of pods is bounded, and old failures make room.
func TestTooManyPods(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l, _ := served(t, text("ok"))
		c := client(t, l)
		defer c.Close()
		for n := range maxPeers {
			c.peers[tunnel.PodID(rune(n))] = &peer{err: net.ErrClosed, failed: time.Now()}
		}
		_, err := ask(t, c.To(holder, "t"))
		notMade(t, err)
		<-time.After(pause)
		answers(t, c.To(holder, "t"), "ok")
		if n := len(c.peers); n != 1 {
			t.Errorf("%d pods are known", n)
		}
	})
}

// endless is a body without an end that counts what was taken of it.
type endless struct{ taken *atomic.Int64 }

func (e endless) Read(p []byte) (int, error) {
	e.taken.Add(int64(len(p)))
	return len(p), nil
}

// An upload stays with its caller until the agent begins to take it, and then
// little of it counts as handed over before the agent takes that, too.
func TestAnUploadWaitsForTheAgent(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name        string
		reads       int // what the agent takes
		least, most int64
	}{{"nothing is read", 0, 0, 0}, {"a byte is read", 1, uploadWindow, 2 * 256 << 10}} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				l := newPipeListener()
				finish := make(chan struct{})
				_, stop := serve(t, l, secret(t, ours), func(r *http.Request) (*http.Response, error) {
					if _, err := io.ReadFull(r.Body, make([]byte, row.reads)); err != nil {
						t.Error(err)
					}
					<-finish
					return text("ok")(r)
				}, nil)
				defer stop()
				c := client(t, l)
				defer c.Close()
				var taken atomic.Int64
				var sending sync.WaitGroup
				sending.Go(func() {
					req := get(t.Context(), t)
					req.Method, req.Body, req.ContentLength = http.MethodPost, io.NopCloser(endless{&taken}), -1
					res, err := c.To(holder, "t").RoundTrip(req)
					if err != nil {
						t.Error(err)
						return
					}
					_ = res.Body.Close()
				})
				synctest.Wait()
				if n := taken.Load(); n < row.least || n > row.most {
					t.Errorf("%d bytes were taken", n)
				}
				close(finish)
				sending.Wait()
			})
		})
	}
}

func TestOfHop(t *testing.T) {
	t.Parallel()
	lost := errors.New("lost")
	for _, row := range []struct {
		name               string
		err                error
		code               fault.Code
		left, notDelivered bool
	}{
		{"the connection ended first", fault.NotDelivered("x", lost), fault.RelayUnavailable, true, true},
		{"no stream was free", fault.Wrap(fault.ConcurrencyLimited, "x", fault.ErrNotDelivered), fault.RelayUnavailable, true, true},
		{"it ended meanwhile", fault.Wrap(fault.LinkLost, "x", lost), fault.LinkLost, false, false},
		{"the other side broke off", fault.New(fault.BadAgentResponse, "x"), fault.BadAgentResponse, false, false},
		{"a header too large", fault.Wrap(fault.HeaderTooLarge, "x", fault.ErrNotDelivered), fault.HeaderTooLarge, false, true},
		{"a body of ours failed", fault.New(fault.RequestTooLarge, "x"), fault.RequestTooLarge, false, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			err := ofHop(row.err)
			if fault.From(err).Code != row.code || errors.Is(err, ErrLeft) != row.left || errors.Is(err, fault.ErrNotDelivered) != row.notDelivered {
				t.Errorf("got %v", err)
			}
			if errors.Is(row.err, lost) && !errors.Is(err, lost) {
				t.Error("the cause is lost")
			}
		})
	}
	if err := ofHop(context.Canceled); err != context.Canceled { //nolint:errorlint // it must be that very error
		t.Errorf("got %v", err)
	}
}
