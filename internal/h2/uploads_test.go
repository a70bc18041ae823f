package h2

import (
	"errors"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// Bodies that nobody reads count for their windows, those of one connection for no
// more than the connection's; and over the budget the connection is not read from
// until some were cut.
func TestUploads(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const window = 256 << 10
		b := NewBudget(2 * window)
		first, second := b.Uploads(window, 2*window), b.Uploads(window, 2*window)
		var cuts atomic.Int64
		body := func(u *Uploads, length int64, asked bool) io.ReadCloser {
			return u.Body(io.NopCloser(strings.NewReader(strings.Repeat("x", window))), length, asked, func() { cuts.Add(1) })
		}
		held := func(want int64) {
			t.Helper()
			if got := b.held.Load(); got != want {
				t.Errorf("%d bytes count, want %d", got, want)
			}
		}
		short := body(first, 100, false)
		held(100)
		_ = short.Close()
		_ = body(first, -1, true).Close() // nothing of it comes before it is read
		held(0)
		var bodies []io.ReadCloser
		for range 5 {
			bodies = append(bodies, body(first, -1, false))
			time.Sleep(time.Millisecond)
		}
		held(2 * window)
		if _, err := io.ReadAll(bodies[0]); err != nil {
			t.Error(err)
		}
		began := time.Now()
		first.Wait()
		if took := time.Since(began); took != 0 {
			t.Errorf("read after %s, with all within the budget", took)
		}
		bodies = append(bodies, body(second, -1, false))
		held(3 * window)
		first.Wait()
		// What the bodies could hold was more than what the connection could.
		if took := time.Since(began); took < patience/2 || took > maxHold || cuts.Load() == 0 {
			t.Errorf("held for %s, and %d were cut", took, cuts.Load())
		}
		if _, err := bodies[1].Read(make([]byte, 1)); !errors.Is(err, ErrNotTaken) {
			t.Errorf("what was away the longest says %v", err)
		}
		for _, body := range bodies {
			_ = body.Close()
		}
		held(0)
		first.End()
		second.End()
		second.End()
		if n := len(b.meters); n != 0 {
			t.Errorf("%d connections are left", n)
		}
	})
}
