package storetest

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/getbindu/bindu-edge/internal/control"
	"github.com/getbindu/bindu-edge/internal/tunnel"
)

func findsInserted(t *testing.T, s control.Store) {
	a, b := sample("a.b_c-1", "Slug_A-1"), whole("b", "slug_a-1") // slugs differ in case only
	c := sample("gone", "gone")
	c.DeletedAt, c.Token = epoch, control.Digest{}
	insert(t, s, a, b, c)
	for _, row := range []control.Tunnel{a, b, c} {
		expect(t, s, row)
	}
}

func unknown(t *testing.T, s control.Store) {
	ctx := t.Context()
	deleted := sample("deleted", "deleted")
	deleted.DeletedAt = epoch
	insert(t, s, sample("id", "slug"), deleted)
	_, byID := s.ByID(ctx, "slug")
	_, bySlug := s.BySlug(ctx, "id")
	_, shown := s.Shown(ctx, "slug", epoch)
	_, shownDeleted := s.Shown(ctx, "deleted", epoch)
	for name, err := range map[string]error{
		"ByID": byID, "BySlug": bySlug, "Shown": shown, "Shown of a deleted one": shownDeleted,
		"Replace": s.Update(ctx, func(ctx context.Context, tx control.Tx) error { return tx.Replace(ctx, sample("other", "other")) }),
		"Remove":  s.Update(ctx, func(ctx context.Context, tx control.Tx) error { return tx.Remove(ctx, "other") }),
	} {
		if !errors.Is(err, tunnel.ErrUnknown) {
			t.Errorf("%s of a missing tunnel: %v, want ErrUnknown", name, err)
		}
	}
	_, key := s.KeyByDigest(ctx, control.DigestOf("nobody's"))
	missing := map[string]error{"KeyByDigest": key}
	update(t, s, func(ctx context.Context, tx control.Tx) error {
		_, missing["Link"] = tx.Link(ctx, "id")
		_, missing["PodHeard"] = tx.PodHeard(ctx, "pod")
		_, missing["HeldSlug"] = tx.HeldSlug(ctx, "slug")
		_, missing["Record"] = tx.Record(ctx, control.DigestOf("x"))
		_, missing["KeyByDigest in a transaction"] = tx.KeyByDigest(ctx, control.DigestOf("x"))
		return nil
	})
	for name, err := range missing {
		if !errors.Is(err, control.ErrMissing) {
			t.Errorf("%s: %v, want ErrMissing", name, err)
		}
	}
}

func takenOnce(t *testing.T, s control.Store) {
	ctx, first := t.Context(), sample("id", "slug")
	insert(t, s, first, sample("id2", "slug2"))
	for _, row := range []control.Tunnel{sample("id", "other"), sample("other", "slug"), first} {
		if err := tryInsert(ctx, s, row); !errors.Is(err, control.ErrTaken) {
			t.Errorf("Insert(%s, %s): %v, want ErrTaken", row.ID, row.Slug, err)
		}
	}
	err := s.Update(ctx, func(ctx context.Context, tx control.Tx) error { return tx.Replace(ctx, sample("id2", "slug")) })
	if !errors.Is(err, control.ErrTaken) {
		t.Errorf("Replace with a slug in use: %v, want ErrTaken", err)
	}
	expect(t, s, first)
	expect(t, s, sample("id2", "slug2"))
	// A refused insert must leave nothing behind, not even half of its names.
	insert(t, s, sample("other", "other"))
}

func replaces(t *testing.T, s control.Store) {
	bystander := sample("other", "other")
	insert(t, s, sample("id", "slug"), bystander)
	for _, row := range []control.Tunnel{whole("id", "slug-2"), sample("id", "slug")} {
		update(t, s, func(ctx context.Context, tx control.Tx) error { return tx.Replace(ctx, row) })
		expect(t, s, row)
		expect(t, s, bystander)
	}
	if _, err := s.BySlug(t.Context(), "slug-2"); !errors.Is(err, tunnel.ErrUnknown) {
		t.Errorf("the slug before: %v, want ErrUnknown", err)
	}
}

func removing(t *testing.T, s control.Store) {
	bystander := sample("other", "other")
	insert(t, s, sample("id", "slug"), bystander)
	update(t, s, func(ctx context.Context, tx control.Tx) error {
		if err := tx.PutLink(ctx, control.Link{Tunnel: "id", State: control.LinkConnected, Pod: "pod"}); err != nil {
			return err
		}
		return tx.Remove(ctx, "id")
	})
	expectNone(t, s, "id")
	again := sample("id2", "slug")
	insert(t, s, again, sample("id", "slug2"))
	expect(t, s, again)
	expect(t, s, bystander)
	update(t, s, func(ctx context.Context, tx control.Tx) error {
		if _, err := tx.Link(ctx, "id"); !errors.Is(err, control.ErrMissing) {
			t.Errorf("link of a removed tunnel: %v, want ErrMissing", err)
		}
		return nil
	})
}

var errStop = errors.New("changed my mind")

func allOrNothing(t *testing.T, s control.Store) {
	ctx, kept := t.Context(), sample("kept", "kept")
	insert(t, s, kept)
	for _, end := range []string{"error", "refused statement", "panic"} {
		func() {
			defer func() { _ = recover() }()
			err := s.Update(ctx, func(ctx context.Context, tx control.Tx) error {
				if err := errors.Join(
					tx.Insert(ctx, sample("new", "new")), tx.Replace(ctx, whole("kept", "renamed")),
					tx.AppendAudit(ctx, control.Entry{At: epoch, Action: "x"}), tx.AppendEvent(ctx, control.Event{At: epoch}),
					tx.PutKey(ctx, control.Key{ID: "k", CreatedAt: epoch}), tx.HearPod(ctx, "pod", epoch),
					tx.PutRecord(ctx, control.Record{At: epoch, Sealed: []byte("x")}),
				); err != nil {
					t.Errorf("first half: %v", err)
				}
				switch end {
				case "error":
					return errStop
				case "panic":
					panic(errStop)
				default:
					return tx.Insert(ctx, kept)
				}
			})
			if !errors.Is(err, errStop) && !errors.Is(err, control.ErrTaken) {
				t.Errorf("%s: Update: %v", end, err)
			}
		}()
		expect(t, s, kept)
		expectNone(t, s, "new")
		keys, err1 := s.Keys(ctx)
		entries, err2 := s.Audit(ctx, "", 0, 10)
		_, newest, err3 := s.EventRange(ctx)
		if err := errors.Join(err1, err2, err3); err != nil || len(keys) > 0 || len(entries) > 0 || newest != 0 {
			t.Errorf("%s left %d keys, %d entries, event %d, %v", end, len(keys), len(entries), newest, err)
		}
	}
}

// serial counts in a tunnel's name from both stores at once: a transaction that
// read what another was about to change would lose a count.
func serial(t *testing.T, a, b control.Store) {
	t.Helper()
	const writers, rounds = 4, 8
	ctx := t.Context()
	start := sample("counter", "counter")
	start.Name = "0"
	insert(t, a, start)
	var all sync.WaitGroup
	for i := range writers {
		s := []control.Store{a, b}[i%2]
		all.Go(func() {
			for range rounds {
				err := s.Update(ctx, func(ctx context.Context, tx control.Tx) error {
					row, err := tx.ByID(ctx, "counter")
					if err != nil {
						return err
					}
					n, err := strconv.Atoi(row.Name)
					if err != nil {
						return err
					}
					row.Name = strconv.Itoa(n + 1)
					return errors.Join(tx.Replace(ctx, row), tx.AppendEvent(ctx, control.Event{At: epoch, Tunnel: "counter", Kind: control.EventKind(row.Name)}))
				})
				if err != nil {
					t.Errorf("Update: %v", err)
				}
			}
		})
	}
	all.Wait()
	got, err := b.ByID(ctx, "counter")
	if err != nil || got.Name != strconv.Itoa(writers*rounds) {
		t.Errorf("counted to %q (%v), want %d", got.Name, err, writers*rounds)
	}
	events, err := a.Events(ctx, 0, 1000)
	if err != nil || len(events) != writers*rounds {
		t.Fatalf("%d events, %v", len(events), err)
	}
	for i, e := range events {
		if e.ID != int64(i+1) || string(e.Kind) != strconv.Itoa(i+1) {
			t.Fatalf("event %d is %+v: not in the order of the transactions", i, e)
		}
	}
}

func heldSlugs(t *testing.T, s control.Store) {
	for _, h := range []control.HeldSlug{
		{Slug: "old", Tunnel: "a", Until: epoch}, {Slug: "old", Tunnel: "b", Until: epoch.Add(time.Hour)},
	} {
		update(t, s, func(ctx context.Context, tx control.Tx) error {
			if err := tx.HoldSlug(ctx, h); err != nil {
				return err
			}
			got, err := tx.HeldSlug(ctx, "old")
			same(t, "held slug", h, got)
			return err
		})
	}
}

func cancelled(t *testing.T, s control.Store) {
	insert(t, s, sample("id", "slug"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	// "The store can't tell" must never look like "there is no such tunnel", and
	// a caller that left says nothing of the store.
	_, err := s.ByID(ctx, "id")
	for name, err := range map[string]error{"ByID": err, "Insert": tryInsert(ctx, s, sample("id2", "slug2"))} {
		if !errors.Is(err, context.Canceled) || errors.Is(err, control.ErrAway) || errors.Is(err, tunnel.ErrUnknown) {
			t.Errorf("%s with a cancelled context: %v", name, err)
		}
	}
	ctx, cancel = context.WithCancel(t.Context())
	err = s.Update(ctx, func(ctx context.Context, tx control.Tx) error {
		err := tx.Insert(ctx, sample("id3", "slug3"))
		cancel()
		return err
	})
	if err == nil {
		t.Error("Update with a context that was cancelled in it succeeded")
	}
	expectNone(t, s, "id3")
	expect(t, s, sample("id", "slug")) // and the store still works
	insert(t, s, sample("id4", "slug4"))
}

// hostile has what SQL, LIKE and JSON could trip over. Ids are checked before
// they come here, but a store must not rely on it.
var hostile = []string{
	`'`, `''`, `"`, "`", `\`, `\'`, `%`, `_`, `!`, `!%`, `--`, `/* */`, `;`, `$1`, `?1`, `:a`, `@a`,
	`'; DROP TABLE tunnels; --`, `x' OR '1'='1`, `") OR 1=1 --`, `%' ESCAPE '`, `\x00`, `{"a":1}`, `NULL`,
	`$$`, `E'\\'`, `Robert'); DELETE FROM tunnels; --`, "tab\there", "é\u0301💡", `U&'\0027'`,
}

func hostileText(t *testing.T, s control.Store) {
	ctx, bystander := t.Context(), sample("bystander", "bystander")
	insert(t, s, bystander)
	for i, text := range hostile {
		row := sample(text, text)
		row.Name = text
		row.CreatedAt = epoch.Add(time.Duration(i) * time.Second)
		insert(t, s, row)
		expect(t, s, row)
		update(t, s, func(ctx context.Context, tx control.Tx) error {
			return errors.Join(
				tx.PutLink(ctx, control.Link{Tunnel: row.ID, State: control.LinkConnected, Pod: tunnel.PodID(text), Session: text, LastError: text}),
				tx.HearPod(ctx, tunnel.PodID(text), epoch),
				tx.AppendAudit(ctx, control.Entry{At: epoch, Target: text, Detail: text, Action: text, Actor: control.Actor{Key: text, Name: text, From: text}}),
				tx.HoldSlug(ctx, control.HeldSlug{Slug: tunnel.Slug(text), Tunnel: row.ID, Until: epoch}),
				tx.PutKey(ctx, control.Key{ID: text, Name: text, Role: control.Role(text), Digest: control.DigestOf(text), CreatedAt: epoch}),
			)
		})
		entries, err := s.Audit(ctx, text, 0, 10)
		if err != nil || len(entries) != 1 || entries[0].Detail != text {
			t.Errorf("audit of %q: %d entries, %v", text, len(entries), err)
		}
		found, _, err := s.Tunnels(ctx, control.Selection{Search: strings.ToLower(text), Limit: 100, Now: epoch})
		if err != nil || len(found) == 0 || found[0].Name != text {
			t.Errorf("search %q: %d found, %v", text, len(found), err)
		}
		for _, l := range found {
			if l.ID == bystander.ID {
				t.Errorf("search %q found a tunnel without it", text)
			}
		}
	}
	all, _, err := s.Tunnels(ctx, control.Selection{Limit: 500, Now: epoch})
	if err != nil || len(all) != len(hostile)+1 {
		t.Errorf("%d tunnels, %v, want %d", len(all), err, len(hostile)+1)
	}
	expect(t, s, bystander)
	if _, err := s.ByID(ctx, tunnel.ID(fmt.Sprintf("%s' OR 'a'='a", bystander.ID))); !errors.Is(err, tunnel.ErrUnknown) {
		t.Errorf("injection by id: %v, want ErrUnknown", err)
	}
}
