package pressure

import (
	"bytes"
	"context"
	"log/slog"
	"math"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestGauge(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name  string
		limit int64
		used  []uint64 // at each look
		want  string   // h = high, l = low
		log   int      // events
	}{
		{"below", 1000, []uint64{0, 500, 900}, "lll", 0},
		{"above", 1000, []uint64{901, 901}, "hh", 1},
		{"rises and falls", 1000, []uint64{850, 901, 850, 801, 800, 850, 901}, "lhhhllh", 3},
		{"no limit", math.MaxInt64, []uint64{math.MaxUint64}, "l", 0},
		{"no sense", 0, []uint64{math.MaxUint64}, "l", 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var used atomic.Uint64
				var log bytes.Buffer
				g := New(Options{
					Logger: slog.New(slog.NewTextHandler(&log, nil)),
					Limit:  func() int64 { return row.limit }, Used: used.Load,
				})
				ctx, cancel := context.WithCancel(t.Context())
				var running sync.WaitGroup
				used.Store(row.used[0])
				if g.High() {
					t.Error("high before Run")
				}
				running.Go(func() { g.Run(ctx) })
				got := ""
				for _, u := range row.used {
					used.Store(u)
					<-time.After(interval + 1)
					synctest.Wait()
					if g.High() {
						got += "h"
					} else {
						got += "l"
					}
				}
				cancel()
				running.Wait()
				if got != row.want || g.High() {
					t.Errorf("got %s, want %s; high after Run: %v", got, row.want, g.High())
				}
				if n := strings.Count(log.String(), "msg="); n != row.log {
					t.Errorf("%d events, want %d: %s", n, row.log, log.String())
				}
			})
		})
	}
}

var sink []byte

// What is held counts, what was dropped does not.
func TestRuntimeUse(t *testing.T) {
	const size = 256 << 20
	u := &runtimeUse{samples: newSamples()}
	debug.SetGCPercent(-1) // only when the test says so
	defer debug.SetGCPercent(100)
	runtime.GC()
	before := u.bytes()
	sink = make([]byte, size)
	runtime.GC()
	held := u.bytes()
	runtime.KeepAlive(sink)
	sink = nil
	runtime.GC()
	sink = make([]byte, size/2) // garbage, as far as anybody knows
	sink = nil
	after := u.bytes()
	if held < before+size || held > before+size+size/4 {
		t.Errorf("holding %d more bytes raised it from %d to %d", size, before, held)
	}
	if after > before+size/4 {
		t.Errorf("holding nothing, it is %d, and was %d", after, before)
	}
}
