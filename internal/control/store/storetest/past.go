package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/getbindu/bindu-edge/internal/control"
	"github.com/getbindu/bindu-edge/internal/tunnel"
)

func counted(id string, minute int, requests, failed, refused int64) control.Count {
	return control.Count{Tunnel: tunnel.ID(id), Minute: minuteOf(minute, requests, failed, refused)}
}

func minuteOf(minute int, requests, failed, refused int64) control.Minute {
	at := epoch.Truncate(time.Minute).Add(time.Duration(minute) * time.Minute)
	return control.Minute{At: at, Requests: requests, Errors: failed, Refused: refused}
}

func putCounts(t *testing.T, s control.Store, pod string, list ...control.Count) {
	t.Helper()
	update(t, s, func(ctx context.Context, tx control.Tx) error { return tx.PutCounts(ctx, tunnel.PodID(pod), list) })
}

func expectCounts(t *testing.T, s control.Store, what, id string, want ...control.Minute) {
	t.Helper()
	got, err := s.Counts(t.Context(), tunnel.ID(id), minuteOf(0, 0, 0, 0).At, minuteOf(100, 0, 0, 0).At)
	if err != nil {
		t.Fatal(err)
	}
	same(t, what, want, got)
}

func counts(t *testing.T, s control.Store) {
	gone := sample("gone", "gone")
	gone.DeletedAt = epoch
	insert(t, s, sample("a", "a"), sample("b", "b"), gone)
	putCounts(t, s, "p1", counted("a", 3, 10, 2, 1), counted("a", 1, 1<<40, 0, 0), counted("b", 3, 7, 7, 0),
		counted("gone", 3, 1, 0, 0), counted("nobody", 3, 1, 0, 0))
	putCounts(t, s, "p2", counted("a", 3, 5, 1, 3))
	expectCounts(t, s, "of two pods", "a", minuteOf(1, 1<<40, 0, 0), minuteOf(3, 15, 3, 4))
	expectCounts(t, s, "of one", "b", minuteOf(3, 7, 7, 0))
	expectCounts(t, s, "of a deleted one", "gone")
	expectCounts(t, s, "of nobody", "nobody")

	putCounts(t, s, "p1", counted("a", 3, 10, 2, 1))
	expectCounts(t, s, "told twice", "a", minuteOf(1, 1<<40, 0, 0), minuteOf(3, 15, 3, 4))
	putCounts(t, s, "p1", counted("a", 3, 9, 0, 0))
	expectCounts(t, s, "told late", "a", minuteOf(1, 1<<40, 0, 0), minuteOf(3, 15, 3, 4))
	putCounts(t, s, "p1", counted("a", 3, 12, 2, 3))
	expectCounts(t, s, "grown", "a", minuteOf(1, 1<<40, 0, 0), minuteOf(3, 17, 3, 6))

	got, err := s.Counts(t.Context(), "a", minuteOf(2, 0, 0, 0).At, minuteOf(3, 0, 0, 0).At)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "a part", []control.Minute{minuteOf(3, 17, 3, 6)}, got)
	update(t, s, func(ctx context.Context, tx control.Tx) error { return tx.Remove(ctx, "a") })
	expectCounts(t, s, "of a removed one", "a")
}

// More rows than one statement writes, and more pods than a minute takes.
func manyCounts(t *testing.T, s control.Store) {
	var list []control.Count
	for i := range 2*100 + 1 {
		id := fmt.Sprint("t", i)
		insert(t, s, sample(id, id))
		list = append(list, counted(id, 1, int64(i), 0, 0))
	}
	putCounts(t, s, "p", list...)
	for i := range list {
		expectCounts(t, s, "one of many", fmt.Sprint("t", i), minuteOf(1, int64(i), 0, 0))
	}
	for i := range control.MaxCountPods + 5 {
		putCounts(t, s, fmt.Sprint("p", i), counted("t0", 2, 1, 0, 0), counted("t1", 2, 0, 0, 0))
	}
	expectCounts(t, s, "of too many pods", "t0", minuteOf(1, 0, 0, 0), minuteOf(2, control.MaxCountPods, 0, 0))
	putCounts(t, s, "p0", counted("t0", 2, 10, 0, 0))
	expectCounts(t, s, "of a pod that has a place", "t0", minuteOf(1, 0, 0, 0), minuteOf(2, control.MaxCountPods+9, 0, 0))
}

func dropping(t *testing.T, s control.Store) {
	insert(t, s, sample("a", "a"), sample("b", "b"))
	putCounts(t, s, "p", counted("a", 1, 1, 0, 0), counted("a", 2, 2, 0, 0), counted("a", 3, 3, 0, 0), counted("b", 2, 4, 0, 0))
	for _, want := range []int64{2, 1, 0} {
		update(t, s, func(ctx context.Context, tx control.Tx) error {
			n, err := tx.DropCounts(ctx, minuteOf(3, 0, 0, 0).At, 2)
			if n != want {
				t.Errorf("dropped %d, want %d", n, want)
			}
			return err
		})
	}
	expectCounts(t, s, "what is left", "a", minuteOf(3, 3, 0, 0))
	expectCounts(t, s, "of another", "b")
}

func at(id, session string, second int, kind control.ReportKind) control.LinkMoment {
	return control.LinkMoment{Tunnel: tunnel.ID(id), Session: session, Moment: control.Moment{
		At: epoch.Add(time.Duration(second) * time.Second), Kind: kind, Pod: "p", Protocol: "h2", Agent: "1.2", Reason: "it's \"over\" 💡",
	}}
}

func appendMoments(t *testing.T, s control.Store, list ...control.LinkMoment) {
	t.Helper()
	update(t, s, func(ctx context.Context, tx control.Tx) error { return tx.AppendMoments(ctx, list) })
}

func expectMoments(t *testing.T, s control.Store, what, id string, want ...control.LinkMoment) {
	t.Helper()
	got, err := s.Moments(t.Context(), tunnel.ID(id), 1000)
	if err != nil {
		t.Fatal(err)
	}
	var list []control.Moment
	for _, m := range slices.Backward(want) {
		list = append(list, m.Moment)
	}
	same(t, what, list, got)
}

func moments(t *testing.T, s control.Store) {
	gone := sample("gone", "gone")
	gone.DeletedAt = epoch
	insert(t, s, sample("a", "a"), sample("b", "b"), gone)
	opened, closed := at("a", "s", 1, control.LinkOpened), at("a", "s", 2, control.LinkClosed)
	refused := at("a", "", 2, control.LinkRefused)
	appendMoments(t, s, opened, closed, at("gone", "s", 1, control.LinkOpened), at("nobody", "s", 1, control.LinkOpened), refused)
	expectMoments(t, s, "in the order in which they were told", "a", opened, closed, refused)
	again := opened
	again.At = epoch.Add(time.Hour)
	late := at("a", "r", 0, control.LinkClosed)
	appendMoments(t, s, again, closed, refused, late)
	expectMoments(t, s, "told again", "a", late, opened, closed, refused, refused)
	expectMoments(t, s, "of another", "b")
	expectMoments(t, s, "of a deleted one", "gone")
	expectMoments(t, s, "of nobody", "nobody")

	update(t, s, func(ctx context.Context, tx control.Tx) error {
		return tx.Prune(ctx, control.Horizon{Moments: closed.At})
	})
	expectMoments(t, s, "after pruning", "a", closed, refused, refused)
	got, err := s.Moments(t.Context(), "a", 1)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "the newest", []control.Moment{refused.Moment}, got)
	update(t, s, func(ctx context.Context, tx control.Tx) error { return tx.Remove(ctx, "a") })
	expectMoments(t, s, "of a removed one", "a")
}

// A tunnel keeps the newest, however many come at once and in whatever order, and
// takes no place of another's.
func manyMoments(t *testing.T, s control.Store) {
	const many = 3*control.MaxMoments + 1
	insert(t, s, sample("a", "a"), sample("b", "b"))
	var list []control.LinkMoment
	for i := range many {
		list = append(list, at("a", fmt.Sprint(i), i, control.LinkOpened))
	}
	other := at("b", "s", 0, control.LinkOpened)
	newest := list[many-control.MaxMoments:]
	appendMoments(t, s, append([]control.LinkMoment{other}, list...)...)
	expectMoments(t, s, "the newest of many", "a", newest...)
	appendMoments(t, s, list[0])
	expectMoments(t, s, "an old one comes again", "a", newest...)
	expectMoments(t, s, "of another", "b", other)
	update(t, s, func(ctx context.Context, tx control.Tx) error {
		return errors.Join(tx.AppendMoments(ctx, nil), tx.PutCounts(ctx, "p", nil))
	})
}
