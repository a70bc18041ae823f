package relay

import (
	"context"
	"errors"
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

// distant is a connection whose bytes are on their way for as long as a test
// holds them.
type distant struct {
	net.Conn
	sent chan []byte
	gate chan struct{} // holds one token while bytes may pass
}

// distantly dials l, and says in wire how.
func distantly(l *pipeListener, wire **distant) dialFunc {
	return func(ctx context.Context, _ tunnel.PodID) (net.Conn, error) {
		conn, err := l.dial(ctx)
		if err != nil {
			return nil, err
		}
		*wire = newDistant(conn)
		return *wire, nil
	}
}

func newDistant(conn net.Conn) *distant {
	d := &distant{conn, make(chan []byte, 1000), make(chan struct{}, 1)}
	d.release()
	go func() {
		for b := range d.sent {
			<-d.gate
			_, err := d.Conn.Write(b)
			d.gate <- struct{}{}
			if err != nil {
				return
			}
		}
	}()
	return d
}

func (d *distant) hold()    { <-d.gate }
func (d *distant) release() { d.gate <- struct{}{} }

func (d *distant) Write(p []byte) (int, error) {
	d.sent <- append([]byte(nil), p...)
	return len(p), nil
}

// A request that is on its way over an idle connection when the goodbye is said
// is proven not to have been seen.
func TestGoodbyeOnAnIdleConnection(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var seen atomic.Int64
		l, s := served(t, func(r *http.Request) (*http.Response, error) {
			seen.Add(1)
			return text("ok")(r)
		})
		var wire *distant
		c := client(t, distantly(l, &wire))
		defer c.Close()
		answers(t, c.To(holder, "t"), "ok")
		synctest.Wait()
		wire.hold()
		failed := make(chan error, 1)
		go func() {
			_, err := ask(t, c.To(holder, "t"))
			failed <- err
		}()
		synctest.Wait()
		left := make(chan error, 1)
		go func() { left <- s.Shutdown(t.Context()) }()
		synctest.Wait()
		wire.release()
		err := <-failed
		notMade(t, err)
		if !errors.Is(err, ErrLeft) {
			t.Errorf("got %v", err)
		}
		if err := <-left; err != nil {
			t.Error(err)
		}
		if n := seen.Load(); n != 1 {
			t.Errorf("the agent saw %d requests", n)
		}
		close(wire.sent)
	})
}

// With nothing in flight it takes no time worth speaking of.
func TestGoodbyeIsShort(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l, s := served(t, text("ok"))
		for range 3 {
			c := client(t, l)
			defer c.Close()
			answers(t, c.To(holder, "t"), "ok")
		}
		began := time.Now()
		if err := s.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took > 500*time.Millisecond {
			t.Errorf("it took %s", took)
		}
	})
}

// A peer who has just proved itself learns of the goodbye, too, and one who says
// nothing more holds up nobody for long.
func TestGoodbyeToANewcomer(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name   string
		speaks bool
		within time.Duration
	}{{"who speaks", true, 2 * time.Second}, {"who does not", false, 10 * time.Second}} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				l, s := served(t, text("ok"))
				raw, err := l.dial(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				proven, err := secret(t, ours).dial(t.Context(), raw, door, holder)
				if err != nil {
					t.Fatal(err)
				}
				defer func() { _ = proven.Close() }()
				synctest.Wait()
				began := time.Now()
				left := make(chan error, 1)
				go func() { left <- s.Shutdown(t.Context()) }()
				synctest.Wait()
				if row.speaks {
					conn, err := h2.NewOpener(h2.Options{}).Open(t.Context(), proven)
					if err != nil {
						t.Fatal(err)
					}
					<-conn.Leaving()
					if !conn.SawGoaway() {
						t.Error("the connection ended without a goodbye")
					}
				}
				if err := <-left; err != nil {
					t.Error(err)
				}
				if took := time.Since(began); took > row.within {
					t.Errorf("it took %s", took)
				}
			})
		})
	}
}

// What is still in flight when time is up ends with Close, as lost.
func TestGoodbyeRunsOutOfTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l, s := served(t, func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		})
		c := client(t, l)
		defer c.Close()
		failed := make(chan error, 1)
		go func() {
			_, err := ask(t, c.To(holder, "t"))
			failed <- err
		}()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		began := time.Now()
		if err := s.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		if took := time.Since(began); took != time.Minute {
			t.Errorf("it took %s", took)
		}
		_ = s.Close()
		if err := <-failed; fault.From(err).Code != fault.LinkLost || errors.Is(err, fault.ErrNotDelivered) {
			t.Errorf("got %v", err)
		}
	})
}

// A frozen pod is noticed, and its requests end as lost.
func TestAFrozenPodIsNoticed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l, _ := served(t, func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		})
		var wire *distant
		c := client(t, distantly(l, &wire))
		defer c.Close()
		var asking sync.WaitGroup
		asking.Go(func() {
			_, err := ask(t, c.To(holder, "t"))
			if fault.From(err).Code != fault.LinkLost {
				t.Errorf("got %v", err)
			}
		})
		synctest.Wait()
		wire.hold()
		began := time.Now()
		asking.Wait()
		if took := time.Since(began); took > pingInterval+pingTimeout {
			t.Errorf("it took %s", took)
		}
		wire.release()
		close(wire.sent)
	})
}
