package controlclient_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/getbindu/bindu-edge/internal/controlclient"
	"github.com/getbindu/bindu-edge/internal/tunnel"
)

// roundTripper makes a fake transport of a function.
type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func response(body io.Reader) *http.Response {
	return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(body), ContentLength: -1}
}

// slowBody never says anything and ends only with its question.
type slowBody func() error

func (wait slowBody) Read([]byte) (int, error) { return 0, wait() }

func TestTimeout(t *testing.T) {
	for _, row := range []struct {
		name  string
		input roundTripper
	}{
		{"no header", func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		}},
		{"no end of the body", func(r *http.Request) (*http.Response, error) {
			return response(io.MultiReader(strings.NewReader(okValidation), slowBody(func() error {
				<-r.Context().Done()
				return r.Context().Err()
			}))), nil
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, err := controlclient.New(controlclient.Options{Transport: row.input})
				if err != nil {
					t.Fatal(err)
				}
				began := time.Now()
				_, err = c.Validate(t.Context(), "t", secret)
				if !errors.Is(err, controlclient.ErrAway) || time.Since(began) != 10*time.Second {
					t.Errorf("Validate: %v after %v, want ErrAway after 10s", err, time.Since(began))
				}
			})
		})
		t.Run(row.name+", and the asker leaves", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, err := controlclient.New(controlclient.Options{Transport: row.input})
				if err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithCancel(t.Context())
				time.AfterFunc(time.Second, cancel)
				_, err = c.Validate(ctx, "t", secret)
				wantError(t, "Validate", err, context.Canceled) // says nothing about the control plane
			})
		})
	}
}

func TestQueue(t *testing.T) {
	ask := map[string]func(context.Context, *controlclient.Client) error{
		"validate": func(ctx context.Context, c *controlclient.Client) error {
			_, err := c.Validate(ctx, "t", secret)
			return err
		},
		"resolve": func(ctx context.Context, c *controlclient.Client) error {
			_, err := c.Resolve(ctx, "slug")
			return err
		},
	}
	for name, one := range ask {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var running atomic.Int32
				release := make(chan struct{})
				c, err := controlclient.New(controlclient.Options{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
					running.Add(1)
					defer running.Add(-1)
					select {
					case <-release:
						return response(strings.NewReader(okValidation)), nil
					case <-r.Context().Done():
						return nil, r.Context().Err()
					}
				})})
				if err != nil {
					t.Fatal(err)
				}
				var all sync.WaitGroup
				for range controlclient.MaxAtOnce {
					all.Go(func() { wantError(t, "first", one(t.Context(), c), nil) })
				}
				synctest.Wait()
				if n := running.Load(); n != controlclient.MaxAtOnce {
					t.Fatalf("%d run, want %d", n, controlclient.MaxAtOnce)
				}

				began := time.Now()
				wantError(t, "one that waits too long", one(t.Context(), c), tunnel.ErrBusy)
				if waited := time.Since(began); waited != 5*time.Second {
					t.Errorf("waited %v, want 5s", waited)
				}

				leaving, leave := context.WithCancel(t.Context())
				all.Go(func() { wantError(t, "one that leaves", one(leaving, c), context.Canceled) })
				synctest.Wait()
				leave()

				synctest.Wait() // the place of the one that left is free
				for range controlclient.MaxWaiting {
					all.Go(func() { wantError(t, "one that gets its turn", one(t.Context(), c), nil) })
				}
				synctest.Wait()
				began = time.Now()
				wantError(t, "one too many", one(t.Context(), c), tunnel.ErrBusy)
				if waited := time.Since(began); waited != 0 {
					t.Errorf("one too many waited %v", waited)
				}
				if n := running.Load(); n != controlclient.MaxAtOnce {
					t.Errorf("%d run, want %d", n, controlclient.MaxAtOnce)
				}
				// The other kind of question has places of its own.
				for other, another := range ask {
					if other != name {
						all.Go(func() { wantError(t, other, another(t.Context(), c), nil) })
					}
				}
				synctest.Wait()
				if n := running.Load(); n != controlclient.MaxAtOnce+1 {
					t.Errorf("%d run with one of the other kind, want %d", n, controlclient.MaxAtOnce+1)
				}
				close(release)
				all.Wait()
			})
		})
	}
}
