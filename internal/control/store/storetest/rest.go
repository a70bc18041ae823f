package storetest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/getbindu/bindu-edge/internal/control"
	"github.com/getbindu/bindu-edge/internal/tunnel"
)

func links(t *testing.T, s control.Store) {
	ctx := t.Context()
	gone := sample("gone", "gone")
	gone.DeletedAt = epoch
	insert(t, s, sample("a", "a"), sample("b", "b"), sample("never", "never"), gone)
	link := control.Link{
		Tunnel: "a", State: control.LinkConnected, Pod: "pod-1", Session: "s1", Since: epoch,
		Protocol: "h2", Agent: "1.2.3", LastError: "", LastErrorAt: time.Time{},
	}
	broken := control.Link{Tunnel: "b", State: control.LinkOffline, Pod: "pod-1", LastError: "went away", LastErrorAt: epoch}
	update(t, s, func(ctx context.Context, tx control.Tx) error {
		for _, l := range []control.Link{link, broken, {Tunnel: "nobody", State: control.LinkConnected}, {Tunnel: "gone", State: control.LinkConnected, Pod: "pod-1"}} {
			if err := tx.PutLink(ctx, l); err != nil {
				return err
			}
		}
		got, err := tx.Link(ctx, "a")
		same(t, "link", link, got)
		on, err2 := tx.LinksOn(ctx, "pod-1")
		same(t, "links on the pod", []control.Link{link}, on)
		for _, at := range []time.Time{epoch, epoch.Add(time.Second), epoch} {
			err2 = errors.Join(err2, tx.HearPod(ctx, "pod-1", at))
		}
		heard, err3 := tx.PodHeard(ctx, "pod-1")
		same(t, "pod heard", epoch.Add(time.Second), heard)
		return errors.Join(err, err2, err3)
	})
	for _, row := range []struct {
		id   string
		at   time.Time
		want control.LinkState
	}{
		{"a", epoch, control.LinkConnected},
		{"a", epoch.Add(time.Second + control.PodSilence), control.LinkUnknown},
		{"b", epoch, control.LinkOffline},
		{"never", epoch, control.LinkOffline},
	} {
		shown, err := s.Shown(ctx, sample(row.id, "").ID, row.at)
		if err != nil || shown.Link.State != row.want {
			t.Errorf("%s at %s: %s, %v, want %s", row.id, row.at, shown.Link.State, err, row.want)
		}
	}
	pods, err := s.Pods(ctx)
	if err != nil {
		t.Error(err)
	}
	same(t, "pods", []control.Pod{{ID: "pod-1", HeardAt: epoch.Add(time.Second), Links: 1}}, pods)
	shown, err := s.Shown(ctx, "a", epoch)
	if err != nil {
		t.Fatal(err)
	}
	link.ReportedAt = epoch.Add(time.Second)
	same(t, "shown link", link, shown.Link)
	same(t, "shown tunnel", sample("a", "a"), shown.Tunnel)
}

func audit(t *testing.T, s control.Store) {
	ctx := t.Context()
	var want []control.Entry
	for i := range 7 {
		e := control.Entry{
			At: epoch.Add(time.Duration(i) * time.Second), Action: "tunnel.create", Target: fmt.Sprint("t", i%2),
			Detail: "slug x", Actor: control.Actor{Key: "k", Name: "ann", From: "192.0.2.1"},
		}
		update(t, s, func(ctx context.Context, tx control.Tx) error { return tx.AppendAudit(ctx, e) })
		e.ID = int64(i + 1)
		want = append([]control.Entry{e}, want...)
	}
	for _, row := range []struct {
		name   string
		target string
		before int64
		limit  int
		want   []control.Entry
	}{
		{"all", "", 0, 10, want},
		{"a page", "", 0, 3, want[:3]},
		{"the next", "", 5, 3, want[3:6]},
		{"the last", "", 2, 3, want[6:]},
		{"of one", "t1", 0, 10, []control.Entry{want[1], want[3], want[5]}},
		{"of one, next", "t1", 4, 1, []control.Entry{want[5]}},
		{"of nobody", "t9", 0, 10, nil},
	} {
		got, err := s.Audit(ctx, row.target, row.before, row.limit)
		if err != nil {
			t.Fatalf("%s: %v", row.name, err)
		}
		same(t, row.name, row.want, got)
	}
}

func events(t *testing.T, s control.Store) {
	ctx := t.Context()
	rangeIs := func(oldest, newest int64) {
		t.Helper()
		a, b, err := s.EventRange(ctx)
		if err != nil || a != oldest || b != newest {
			t.Errorf("EventRange: %d, %d, %v, want %d, %d", a, b, err, oldest, newest)
		}
	}
	rangeIs(1, 0)
	var want []control.Event
	for i := range 5 {
		e := control.Event{At: epoch.Add(time.Duration(i) * time.Second), Tunnel: "t", Kind: control.EventMoved, Slug: "new", Old: "old"}
		update(t, s, func(ctx context.Context, tx control.Tx) error { return tx.AppendEvent(ctx, e) })
		e.ID = int64(i + 1)
		want = append(want, e)
	}
	rangeIs(1, 5)
	for _, row := range []struct {
		after int64
		limit int
		want  []control.Event
	}{{0, 10, want}, {2, 2, want[2:4]}, {5, 10, nil}, {99, 10, nil}} {
		got, err := s.Events(ctx, row.after, row.limit)
		if err != nil {
			t.Fatal(err)
		}
		same(t, fmt.Sprint("after ", row.after), row.want, got)
	}
	update(t, s, func(ctx context.Context, tx control.Tx) error {
		return tx.Prune(ctx, control.Horizon{Events: epoch, KeepEvents: 2})
	})
	rangeIs(4, 5)
	update(t, s, func(ctx context.Context, tx control.Tx) error {
		return tx.Prune(ctx, control.Horizon{Events: epoch.Add(time.Hour), KeepEvents: 2})
	})
	rangeIs(6, 5) // nothing kept, and ids go on
}

func keys(t *testing.T, s control.Store) {
	ctx := t.Context()
	a := control.Key{ID: "a", Name: "ann's", Role: control.RoleAdmin, Digest: control.DigestOf("a"), CreatedAt: epoch.Add(time.Second)}
	b := control.Key{ID: "b", Name: "pod", Role: control.RoleEdge, Digest: control.DigestOf("b"), CreatedAt: epoch}
	put := func(k control.Key) {
		t.Helper()
		update(t, s, func(ctx context.Context, tx control.Tx) error { return tx.PutKey(ctx, k) })
	}
	put(a)
	put(b)
	b.LastUsedAt, b.RevokedAt, b.Name = epoch.Add(time.Minute), epoch.Add(time.Hour), "old pod"
	put(b)
	all, err := s.Keys(ctx)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "keys", []control.Key{b, a}, all)
	got, err := s.KeyByDigest(ctx, control.DigestOf("b"))
	if err != nil {
		t.Fatal(err)
	}
	same(t, "key", b, got)
	clash := a
	clash.ID = "c"
	if err := s.Update(ctx, func(ctx context.Context, tx control.Tx) error { return tx.PutKey(ctx, clash) }); !errors.Is(err, control.ErrTaken) {
		t.Errorf("two keys with one secret: %v, want ErrTaken", err)
	}
}

func records(t *testing.T, s control.Store) {

	for _, r := range []control.Record{
		{ID: control.DigestOf("1"), Request: control.DigestOf("r"), Sealed: []byte{0, 1, 0xff, '\''}, At: epoch},
		{ID: control.DigestOf("1"), Request: control.DigestOf("q"), Sealed: []byte("again"), At: epoch.Add(time.Hour)},
	} {
		update(t, s, func(ctx context.Context, tx control.Tx) error {
			if err := tx.PutRecord(ctx, r); err != nil {
				return err
			}
			got, err := tx.Record(ctx, r.ID)
			same(t, "record", r, got)
			return err
		})
	}
}

func pruning(t *testing.T, s control.Store) {
	ctx, old, fresh := t.Context(), epoch, epoch.Add(time.Hour)
	gone, recent := sample("gone", "gone"), sample("recent", "recent")
	gone.DeletedAt, recent.DeletedAt = old, fresh
	living := sample("living", "living")
	insert(t, s, gone, recent, living)
	update(t, s, func(ctx context.Context, tx control.Tx) error {
		var errs []error
		for i, at := range []time.Time{old, fresh} {
			name := fmt.Sprint(i)
			errs = append(errs,
				tx.PutKey(ctx, control.Key{ID: name, Digest: control.DigestOf(name), CreatedAt: old, RevokedAt: at}),
				tx.HoldSlug(ctx, control.HeldSlug{Slug: sample("", name).Slug, Until: at}),
				tx.AppendAudit(ctx, control.Entry{At: at}), tx.AppendEvent(ctx, control.Event{At: at}),
				tx.PutRecord(ctx, control.Record{ID: control.DigestOf(name), Sealed: []byte("x"), At: at}),
				tx.HearPod(ctx, tunnel.PodID(name), at))
		}
		return errors.Join(append(errs,
			tx.PutKey(ctx, control.Key{ID: "in use", Digest: control.DigestOf("in use"), CreatedAt: old}),
			tx.PutLink(ctx, control.Link{Tunnel: "living", State: control.LinkConnected, Pod: "0"}))...)
	})
	at := epoch.Add(time.Minute)
	update(t, s, func(ctx context.Context, tx control.Tx) error {
		return tx.Prune(ctx, control.Horizon{Now: at, Tunnels: at, Audit: at, Events: at, KeepEvents: 100, Records: at, Pods: at})
	})
	expectNone(t, s, "gone")
	expect(t, s, recent)
	expect(t, s, living)
	update(t, s, func(ctx context.Context, tx control.Tx) error {
		for i, want := range []error{control.ErrMissing, nil} {
			name := fmt.Sprint(i)
			_, held := tx.HeldSlug(ctx, sample("", name).Slug)
			_, record := tx.Record(ctx, control.DigestOf(name))
			_, key := tx.KeyByDigest(ctx, control.DigestOf(name))
			_, pod := tx.PodHeard(ctx, tunnel.PodID(name))
			for what, err := range map[string]error{"held slug": held, "record": record, "key": key, "pod": pod} {
				if !errors.Is(err, want) {
					t.Errorf("%s %d: %v, want %v", what, i, err, want)
				}
			}
		}
		l, err := tx.Link(ctx, "living")
		if l.State != control.LinkOffline {
			t.Errorf("link on a pod that is forgotten: %s, want offline", l.State)
		}
		_, inUse := tx.KeyByDigest(ctx, control.DigestOf("in use"))
		return errors.Join(err, inUse)
	})
	entries, err := s.Audit(ctx, "", 0, 10)
	if err != nil || len(entries) != 1 || entries[0].ID != 2 {
		t.Errorf("audit: %+v, %v, want the second entry", entries, err)
	}
	oldest, newest, err := s.EventRange(ctx)
	if err != nil || oldest != 2 || newest != 2 {
		t.Errorf("events: %d to %d, %v, want the second", oldest, newest, err)
	}
}
