package given_test

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"testing/synctest"

	"go.uber.org/goleak"

	"github.com/getbindu/bindu-edge/internal/given"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestListener(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		first, second := net.Pipe()
		addr := &net.UnixAddr{Name: "x"}
		l := given.NewListener(addr, first)
		var waiting sync.WaitGroup
		accept := func(want net.Conn, wantErr error) {
			waiting.Go(func() {
				if got, err := l.Accept(); got != want || !errors.Is(err, wantErr) {
					t.Errorf("Accept = %v, %v, want %v, %v", got, err, want, wantErr)
				}
			})
			synctest.Wait()
		}
		accept(first, nil)
		accept(second, nil)
		if err := l.Give(t.Context(), second); err != nil {
			t.Errorf("Give: %v", err)
		}
		waiting.Wait()
		accept(nil, net.ErrClosed)
		_, _ = l.Close(), l.Close()
		waiting.Wait()
		if l.Addr() != addr {
			t.Errorf("Addr = %v", l.Addr())
		}
	})
}

// A listener without room takes nothing from one that has left, or once it is
// closed; what it had from the start is not lost.
func TestGiveEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		first, second := net.Pipe()
		l := given.NewListener(nil, first)
		errLeft := errors.New("left")
		ctx, leave := context.WithCancelCause(t.Context())
		give := func(want error, end func()) {
			t.Helper()
			var waiting sync.WaitGroup
			waiting.Go(func() {
				if err := l.Give(ctx, second); !errors.Is(err, want) {
					t.Errorf("Give = %v, want %v", err, want)
				}
			})
			synctest.Wait()
			end()
			waiting.Wait()
		}
		give(errLeft, func() { leave(errLeft) })
		ctx = t.Context()
		give(net.ErrClosed, func() { _ = l.Close() })
		if got, err := l.Accept(); got != first || err != nil {
			t.Errorf("Accept = %v, %v", got, err)
		}
	})
}
