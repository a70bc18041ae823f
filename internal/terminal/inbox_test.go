package terminal

import (
	"context"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"
)

func TestInboxIsBounded(t *testing.T) {
	d := New(Options{})
	d.Connecting()
	for range maxQueued + 11 {
		d.Request(Request{Method: "GET", Path: "/", Status: 200})
	}
	d.Notice(slog.LevelInfo, "too late")
	d.Offline("first", 0)
	d.Offline("last", 0)
	d.Target("nobody there")
	d.Target("still nobody there")

	events, dropped := d.inbox.take()
	if want := int64(13); dropped != want { // the first state took a place, and the notice found none
		t.Errorf("%d dropped, want %d", dropped, want)
	}
	if got, most := len(events), maxQueued+2; got > most {
		t.Errorf("%d queued, want at most %d", got, most)
	}
	var states []string
	for _, e := range events {
		switch e := e.(type) {
		case state:
			states = append(states, e.reason)
		case targetState:
			states = append(states, e.problem)
		}
	}
	if len(states) != 2 || states[0] != "last" || states[1] != "still nobody there" {
		t.Errorf("states in the queue: %q, want the newest of each kind", states)
	}
	if got := d.totals().requests; got != maxQueued+11 {
		t.Errorf("%d counted, want every request, shown or not", got)
	}
	if events, dropped = d.inbox.take(); len(events) != 0 || dropped != 0 {
		t.Errorf("%d events and %d dropped are left after take", len(events), dropped)
	}
}

func TestStatesKnowTheirTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := New(Options{})
		d.Linked(Info{})
		d.Target("x")
		events, _ := d.inbox.take()
		if got := events[0].(state).since; !got.Equal(time.Now()) {
			t.Errorf("state since %v, want %v", got, time.Now())
		}
		if got := events[1].(targetState).since; !got.Equal(time.Now()) {
			t.Errorf("target state since %v, want %v", got, time.Now())
		}
	})
}

func TestInFlight(t *testing.T) {
	d := New(Options{})
	d.Request(Request{Status: 200}) // nobody called Started: nothing to subtract from
	if got := d.totals().inFlight; got != 0 {
		t.Errorf("%d in flight, want 0", got)
	}
	for range 3 {
		d.Started()
	}
	d.Request(Request{Status: 200})
	if got := d.totals().inFlight; got != 1 {
		t.Errorf("%d in flight, want 1", got)
	}
}

// The pump is what keeps a flood from redrawing the screen all the time.
func TestPumpPausesBetweenBatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		d := New(Options{})
		var batches, events int
		done := make(chan error, 1)
		go func() {
			done <- d.pump(ctx, false, redrawEvery, func(b batch) error {
				batches++
				events += len(b.events)
				return nil
			})
		}()
		for range 100 {
			d.Request(Request{Status: 200})
			time.Sleep(redrawEvery / 20) // fake time: this waits for nothing
		}
		cancel()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if events != 100 {
			t.Errorf("%d events came through, want 100", events)
		}
		if batches > 7 {
			t.Errorf("%d batches in five pauses, want at most 7", batches)
		}
	})
}

func TestPumpMovesClocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 3500*time.Millisecond)
		defer cancel()
		var batches int
		_ = New(Options{}).pump(ctx, true, redrawEvery, func(batch) error { batches++; return nil })
		if batches != 4 { // three seconds and the last one
			t.Errorf("%d batches, want 4", batches)
		}
	})
}
