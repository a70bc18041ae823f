package control_test

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/getbindu/bindu-edge/internal/control"
	"github.com/getbindu/bindu-edge/test/planetest"
)

func TestDoOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _ := newPlane(t)
		ctx := t.Context()
		ask := control.Once{Key: "order-1", KeyID: "k", Secret: control.NewKey(), Request: control.DigestOf("POST body")}
		created := 0
		create := func(ctx context.Context, p *control.Plane) ([]byte, error) {
			created++
			_, token, err := p.CreateTunnel(ctx, control.Create{})
			return []byte(token), err
		}
		first, replayed, err := p.DoOnce(ctx, ask, create)
		if err != nil || replayed || created != 1 {
			t.Fatalf("first: replayed %v, %v", replayed, err)
		}
		again, replayed, err := p.DoOnce(ctx, ask, create)
		if err != nil || !replayed || created != 1 || !bytes.Equal(first, again) {
			t.Errorf("again: replayed %v, %d made, %v", replayed, created, err)
		}
		other := ask
		other.Request = control.DigestOf("another body")
		if _, _, err := p.DoOnce(ctx, other, create); !errors.Is(err, control.ErrReused) || created != 1 {
			t.Errorf("another request: %v, want ErrReused", err)
		}
		other = ask
		other.KeyID = "k2"
		if _, replayed, err := p.DoOnce(ctx, other, create); err != nil || replayed || created != 2 {
			t.Errorf("another API key: replayed %v, %v", replayed, err)
		}
		other = ask
		other.Secret = control.NewKey() // as if somebody had put it into the row of k
		if got, _, err := p.DoOnce(ctx, other, create); err == nil {
			t.Errorf("without the secret: %q", got)
		}
		time.Sleep(control.RecordLife) // the bubble's clock
		if _, replayed, err := p.DoOnce(ctx, ask, create); err != nil || replayed || created != 3 {
			t.Errorf("a day later: replayed %v, %v", replayed, err)
		}
		for _, key := range []string{"", "a\nb", string(make([]byte, control.MaxOnceKey+1))} {
			other.Key = key
			if _, _, err := p.DoOnce(ctx, other, create); !errors.Is(err, control.ErrInvalid) {
				t.Errorf("Idempotency-Key %q: %v, want ErrInvalid", key, err)
			}
		}
	})
}

func TestDoOnceUndoesWhatFailed(t *testing.T) {
	p, _ := newPlane(t)
	ctx := t.Context()
	ask := control.Once{Key: "1", Secret: "s"}
	stop := errors.New("stop")
	_, _, err := p.DoOnce(ctx, ask, func(ctx context.Context, p *control.Plane) ([]byte, error) {
		_, _, err := p.CreateTunnel(ctx, control.Create{})
		return nil, errors.Join(err, stop)
	})
	if !errors.Is(err, stop) {
		t.Errorf("DoOnce: %v, want the error of what it did", err)
	}
	page, err := p.ListTunnels(ctx, control.Query{})
	last, err2 := p.LastEvent(ctx)
	if err := errors.Join(err, err2); err != nil || len(page.Tunnels) != 0 || last != 0 {
		t.Errorf("left behind: %d tunnels, event %d, %v", len(page.Tunnels), last, err)
	}
	if _, replayed, err := p.DoOnce(ctx, ask, func(context.Context, *control.Plane) ([]byte, error) { return nil, nil }); err != nil || replayed {
		t.Errorf("trying again: replayed %v, %v", replayed, err)
	}
}

func TestDoOnceAtOnce(t *testing.T) {
	p, _ := newPlane(t)
	var made atomic.Int32
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			_, _, err := p.DoOnce(t.Context(), control.Once{Key: "1", Secret: "s"}, func(ctx context.Context, p *control.Plane) ([]byte, error) {
				made.Add(1)
				_, token, err := p.CreateTunnel(ctx, control.Create{})
				return []byte(token), err
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if made.Load() != 1 {
		t.Errorf("done %d times", made.Load())
	}
}

// storeSpy keeps what the database would show to whoever steals it.
type storeSpy struct {
	control.Store
	sealed []byte
}

type txSpy struct {
	control.Tx
	spy *storeSpy
}

func (s *storeSpy) Update(ctx context.Context, f func(context.Context, control.Tx) error) error {
	return s.Store.Update(ctx, func(ctx context.Context, tx control.Tx) error { return f(ctx, &txSpy{tx, s}) })
}

func (x *txSpy) PutRecord(ctx context.Context, r control.Record) error {
	x.spy.sealed = r.Sealed
	return x.Tx.PutRecord(ctx, r)
}

func TestKeptAnswerShowsNoToken(t *testing.T) {
	spy := &storeSpy{Store: planetest.Store(t)}
	p, err := control.New(control.Options{Store: spy})
	if err != nil {
		t.Fatal(err)
	}
	token := control.NewToken()
	if _, _, err := p.DoOnce(t.Context(), control.Once{Key: "1", Secret: control.NewKey()}, func(context.Context, *control.Plane) ([]byte, error) {
		return []byte(token), nil
	}); err != nil {
		t.Fatal(err)
	}
	if len(spy.sealed) <= len(token) || bytes.Contains(spy.sealed, []byte(token[4:12])) {
		t.Errorf("the record is %q", spy.sealed)
	}
}
