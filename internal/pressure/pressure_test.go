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
					Limit:  func() int64 { return row.limit }, Used: used.Load, Collect: func() {},
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
	const rest = 1 << 20 // what the tests before have left may go meanwhile
	if held < before+size-rest || held > before+size+size/4 {
		t.Errorf("holding %d more bytes raised it from %d to %d", size, before, held)
	}
	if after > before+size/4 {
		t.Errorf("holding nothing, it is %d, and was %d", after, before)
	}
}

// What was let go of does not keep the gauge high: while it is, garbage is
// collected once a second, and otherwise never.
func TestCollect(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var held, seen atomic.Uint64 // seen = held at the last collection, or more
		var mu sync.Mutex
		var collections []time.Time
		count := func() int {
			mu.Lock()
			defer mu.Unlock()
			return len(collections)
		}
		g := New(Options{
			Logger: slog.New(slog.DiscardHandler), Limit: func() int64 { return 1000 }, Used: seen.Load,
			Collect: func() {
				mu.Lock()
				defer mu.Unlock()
				collections = append(collections, time.Now())
				seen.Store(held.Load())
			},
		})
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		hold := func(n uint64) { held.Store(n); seen.Store(n) }
		hold(500)
		running.Go(func() { g.Run(ctx) })
		<-time.After(time.Minute)
		synctest.Wait()
		if n := count(); n != 0 {
			t.Errorf("%d collections with memory left", n)
		}
		hold(950)
		<-time.After(10*time.Second + interval/2)
		synctest.Wait()
		if n := count(); n != 10 || !g.High() {
			t.Errorf("%d collections in 10 s, want 10; high: %v", n, g.High())
		}
		held.Store(100)
		<-time.After(collectEvery + interval)
		synctest.Wait()
		if g.High() {
			t.Error("it is high still, and nothing is held")
		}
		cancel()
		running.Wait()
		for i := range collections[1:] {
			if apart := collections[i+1].Sub(collections[i]); apart < collectEvery {
				t.Errorf("collections are %s apart", apart)
			}
		}
	})
}

// The runtime sees at once what the default collection found.
func TestCollectOfTheRuntime(t *testing.T) {
	const size = 64 << 20
	debug.SetGCPercent(-1)
	defer debug.SetGCPercent(100)
	var used atomic.Uint64
	u := &runtimeUse{samples: newSamples()}
	sink = make([]byte, size)
	runtime.GC()
	runtime.KeepAlive(sink)
	full := u.bytes()
	g := New(Options{
		Logger: slog.New(slog.DiscardHandler), Limit: func() int64 { return int64(full) },
		Used: func() uint64 { n := u.bytes(); used.Store(n); return n },
	})
	g.high.Store(true)
	sink = nil
	if before := u.bytes(); before < full-size/4 {
		t.Fatalf("%d of %d bytes are used before the collection", before, full)
	}
	g.look(t.Context(), float64(full))
	if g.High() || used.Load() > full-size/2 {
		t.Errorf("high: %v, with %d of %d bytes used", g.High(), used.Load(), full)
	}
}
