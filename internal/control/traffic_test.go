package control_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/getbindu/bindu-edge/internal/control"
	"github.com/getbindu/bindu-edge/internal/tunnel"
	"github.com/getbindu/bindu-edge/test/planetest"
)

func counted(id tunnel.ID, at time.Time, requests, failed, refused int64) control.Count {
	return control.Count{Tunnel: id, Minute: control.Minute{At: at, Requests: requests, Errors: failed, Refused: refused}}
}

func reportCounts(t *testing.T, p *control.Plane, pod tunnel.PodID, counts ...control.Count) {
	t.Helper()
	if err := p.Report(t.Context(), control.Report{Pod: pod, Counts: counts}); err != nil {
		t.Fatal(err)
	}
}

// expectTraffic wants the minutes that ended so many minutes ago, 0 = the running
// one, and zeros in all others.
func expectTraffic(t *testing.T, p *control.Plane, when string, id tunnel.ID, want map[int][3]int64) {
	t.Helper()
	got, err := p.Traffic(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now().UTC().Truncate(time.Minute)
	var all []control.Minute
	for ago := control.TrafficMinutes - 1; ago >= 0; ago-- {
		all = append(all, control.Minute{At: now.Add(-time.Duration(ago) * time.Minute), Requests: want[ago][0], Errors: want[ago][1], Refused: want[ago][2]})
	}
	if diff := cmp.Diff(all, got); diff != "" {
		t.Errorf("%s, traffic of %s (-want +got):\n%s", when, id, diff)
	}
}

func TestTraffic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _ := newPlane(t)
		make1(t, p, control.Create{ID: "a"})
		make1(t, p, control.Create{ID: "b"})
		expectTraffic(t, p, "at first", "a", nil)

		time.Sleep(90*time.Minute + 10*time.Second) // the bubble's clock
		now := time.Now().Truncate(time.Minute)
		ago := func(minutes int) time.Time { return now.Add(-time.Duration(minutes) * time.Minute) }
		east := time.FixedZone("east", 3600)
		reportCounts(t, p, "p1", counted("a", now.In(east), 5, 1, 2), counted("a", ago(59), 7, 0, 0), counted("a", ago(60), 9, 0, 0),
			counted("a", now, 6, 1, 2), counted("a", now, 4, 0, 0), counted("b", ago(1), 3, 3, 0), counted("nobody", now, 1, 0, 0))
		expectTraffic(t, p, "counted", "a", map[int][3]int64{0: {6, 1, 2}, 59: {7}})
		reportCounts(t, p, "p2", counted("a", now, 10, 1, 1))
		reportCounts(t, p, "p2", counted("a", now, 10, 1, 1))
		reportCounts(t, p, "p2", counted("a", now, 8, 0, 0))
		expectTraffic(t, p, "on two pods, told again and late", "a", map[int][3]int64{0: {16, 2, 3}, 59: {7}})
		expectTraffic(t, p, "another", "b", map[int][3]int64{1: {3, 3, 0}})

		reportCounts(t, p, "p3", counted("a", ago(-1), 2, 0, 0), counted("a", ago(-6), 1, 0, 0), counted("a", ago(121), 1, 0, 0))
		expectTraffic(t, p, "a clock that is ahead", "a", map[int][3]int64{0: {16, 2, 3}, 59: {7}})
		time.Sleep(time.Minute)
		expectTraffic(t, p, "a minute later", "a", map[int][3]int64{0: {2}, 1: {16, 2, 3}})
		time.Sleep(5 * time.Minute)
		expectTraffic(t, p, "a clock that is wrong", "a", map[int][3]int64{5: {2}, 6: {16, 2, 3}})

		if err := p.DeleteTunnel(t.Context(), "a"); err != nil {
			t.Fatal(err)
		}
		reportCounts(t, p, "p1", counted("a", time.Now().Truncate(time.Minute), 1, 0, 0))
		expectTraffic(t, p, "after another was deleted", "b", map[int][3]int64{7: {3, 3, 0}})
		for _, id := range []tunnel.ID{"a", "nobody", "a/b", ""} {
			_, err := p.Traffic(t.Context(), id)
			_, err2 := p.History(t.Context(), id)
			if !errors.Is(err, tunnel.ErrUnknown) || !errors.Is(err2, tunnel.ErrUnknown) {
				t.Errorf("%q: %v, %v, want unknown", id, err, err2)
			}
		}
	})
}

func TestCountsAreChecked(t *testing.T) {
	p, _ := newPlane(t)
	minute := time.Now().Truncate(time.Minute)
	for _, row := range []struct {
		field string
		input control.Count
	}{
		{"counts[1].tunnel_id", counted("a/b", minute, 1, 0, 0)},
		{"counts[1].minute", counted("a", minute.Add(time.Second), 1, 0, 0)},
		{"counts[1].requests", counted("a", minute, -1, 0, 0)},
		{"counts[1].requests", counted("a", minute, 1, -1, 0)},
		{"counts[1].requests", counted("a", minute, 1, 0, -1)},
		{"counts[1].requests", counted("a", minute, 1, 1, 1)},
		{"counts[1].requests", counted("a", minute, 1<<62, 0, 0)},
		{"counts[1].requests", counted("a", minute, 0, 1<<62, 1<<62)},
	} {
		var field *control.FieldError
		err := p.Report(t.Context(), control.Report{Pod: "p", Counts: []control.Count{counted("a", minute, 1, 0, 0), row.input}})
		if !errors.As(err, &field) || field.Field != row.field {
			t.Errorf("%+v: %v, want a complaint about %s", row.input, err, row.field)
		}
	}
	var field *control.FieldError
	err := p.Report(t.Context(), control.Report{Pod: "p", Counts: make([]control.Count, control.MaxCounts+1)})
	if !errors.As(err, &field) || field.Field != "counts" {
		t.Errorf("too many: %v", err)
	}
}

// What is past its time goes with the time, and without anybody's asking.
func TestOldReportsAreDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := planetest.Store(t)
		p, err := control.New(control.Options{Store: s})
		if err != nil {
			t.Fatal(err)
		}
		make1(t, p, control.Create{ID: "a"})
		const tunnels, minutes = 240, 11 // more than one transaction drops
		for n := range tunnels {
			make1(t, p, control.Create{ID: tunnel.ID(fmt.Sprint("t", n))})
		}
		for ago := range minutes {
			var counts []control.Count
			for n := range tunnels {
				counts = append(counts, counted(tunnel.ID(fmt.Sprint("t", n)), time.Now().Add(-time.Duration(ago)*time.Minute), 1, 0, 0))
			}
			reportCounts(t, p, "p", counts...)
		}
		start := time.Now()
		report := control.LinkReport{Tunnel: "a", Session: "s", Kind: control.LinkOpened}
		if err := p.Report(t.Context(), control.Report{Pod: "p", Links: []control.LinkReport{report}}); err != nil {
			t.Fatal(err)
		}
		at := func(when time.Duration, counts, moments int) {
			t.Helper()
			time.Sleep(time.Until(start.Add(when)))
			done := make(chan error)
			ctx, stop := context.WithCancel(t.Context())
			go func() { done <- p.Run(ctx) }()
			time.Sleep(time.Minute) // it keeps house so often
			synctest.Wait()
			stop()
			err0 := <-done
			got, err := s.Counts(t.Context(), "t0", start.Add(-time.Hour), start.Add(time.Hour))
			was, err2 := p.History(t.Context(), "a")
			if err := errors.Join(err0, err, err2); err != nil || len(got) != counts || len(was) != moments {
				t.Errorf("after %s: %d counts, %d moments, %v, want %d and %d", when, len(got), len(was), err, counts, moments)
			}
		}
		at(0, minutes, 1)
		at(control.CountLife-11*time.Minute, minutes, 1)
		at(control.CountLife-9*time.Minute, minutes-2, 1)
		at(control.CountLife+time.Hour, 0, 1)
		at(control.MomentLife-time.Minute, 0, 1)
		at(control.MomentLife, 0, 0)
	})
}

func TestHistory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _ := newPlane(t)
		make1(t, p, control.Create{ID: "a"})
		make1(t, p, control.Create{ID: "b"})
		report := func(pod tunnel.PodID, full bool, links ...control.LinkReport) {
			t.Helper()
			time.Sleep(time.Second)
			for range 2 { // a report may come twice
				if err := p.Report(t.Context(), control.Report{Pod: pod, Links: links, Full: full}); err != nil {
					t.Fatal(err)
				}
			}
		}
		what := func(kind control.ReportKind, session, reason string) control.LinkReport {
			return control.LinkReport{Tunnel: "a", Session: session, Kind: kind, At: time.Now(), Protocol: "h2", Agent: "1.0", Reason: reason}
		}
		start := time.Now().UTC()
		at := func(second int, kind control.ReportKind, pod tunnel.PodID, reason string) control.Moment {
			return control.Moment{At: start.Add(time.Duration(second) * time.Second), Kind: kind, Pod: pod, Protocol: "h2", Agent: "1.0", Reason: reason}
		}
		report("p1", false, what(control.LinkOpened, "s1", ""), what(control.LinkClosed, "s1", "agent_left"))
		report("p1", false, what(control.LinkOpened, "s2", ""))
		report("p2", false, what(control.LinkOpened, "s3", ""))
		report("p1", false, what(control.LinkClosed, "s2", "replaced\x00"))
		report("p2", true, what(control.LinkOpened, "s3", ""))
		report("p2", true)
		got, err := p.History(t.Context(), "a")
		if err != nil {
			t.Fatal(err)
		}
		want := []control.Moment{
			at(6, control.LinkClosed, "p2", ""),
			at(3, control.LinkClosed, "p1", "replaced "),
			at(2, control.LinkOpened, "p2", ""),
			at(1, control.LinkOpened, "p1", ""),
			at(0, control.LinkClosed, "p1", "agent_left"),
			at(0, control.LinkOpened, "p1", ""),
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("history, newest first (-want +got):\n%s", diff)
		}
		if got, err := p.History(t.Context(), "b"); len(got) != 0 || err != nil {
			t.Errorf("history of another: %v, %v", got, err)
		}

		ahead := what(control.LinkRefused, "", strings.Repeat("x", 300))
		ahead.At = time.Now().Add(time.Hour)
		for range control.MaxMoments + 1 {
			report("p1", false, ahead)
		}
		got, err = p.History(t.Context(), "a")
		if err != nil || len(got) != control.MaxMoments {
			t.Fatalf("%d moments, %v", len(got), err)
		}
		if last := got[0]; last.Kind != control.LinkRefused || !last.At.Equal(time.Now()) || len(last.Reason) != 256 {
			t.Errorf("the last of many: %+v", last)
		}
	})
}
