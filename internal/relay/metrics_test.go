package relay

import (
	"context"
	"errors"
	"net"
	"net/http"
	"syscall"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/getbindu/bindu-edge/internal/fault"
	"github.com/getbindu/bindu-edge/internal/tunnel"
	"github.com/getbindu/bindu-edge/test/metrictest"
)

// Both ends of a hop count it, by how it ended.
func TestHopsAreCounted(t *testing.T) {
	t.Parallel()
	errFirstByte := fault.New(fault.FirstByteTimeout, "")
	fails := func(err error) roundTripper {
		return func(*http.Request) (*http.Response, error) { return nil, err }
	}
	for _, row := range []struct {
		name  string
		agent roundTripper
		leave error // what ends the caller's context once the agent has the request; nil = nothing
		door  string
		owner string
		timed float64 // hops that got an answer
	}{
		{"an answer", text("hello"), nil, "ok", "ok", 1},
		{"not here", fails(fault.NotDelivered("gone", nil)), nil, "refused", "refused", 1},
		{"too many requests", fails(fault.New(fault.RateLimited, "")), nil, "rate_limited", "rate_limited", 1},
		{"the link broke", fails(fault.New(fault.LinkLost, "")), nil, "link_lost", "link_lost", 1},
		{"an error without a code", fails(errors.New("smoke")), nil, "internal", "internal", 1},
		{"a code that no hop ends with", fails(fault.New(fault.Draining, "")), nil, "internal", "internal", 1},
		{"the caller leaves", nil, context.Canceled, "caller_gone", "caller_gone", 0},
		{"the first byte is late", nil, errFirstByte, "first_byte_timeout", "caller_gone", 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			arrived, done := make(chan struct{}), make(chan struct{})
			agent := row.agent
			if agent == nil {
				agent = func(req *http.Request) (*http.Response, error) {
					close(arrived)
					<-req.Context().Done()
					return nil, context.Cause(req.Context())
				}
			}
			doors, owners := prometheus.NewRegistry(), prometheus.NewRegistry()
			l := newPipeListener()
			s := NewServer(ServerOptions{Pod: holder, Identity: secret(t, ours), Links: fakeLinks{agent}, Metrics: owners})
			s.http.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				defer close(done) // after the count
				s.ServeHTTP(w, r)
			})
			served := make(chan error, 1)
			go func() { served <- s.Serve(l) }()
			c := NewClient(Options{Pod: door, Dialer: l, Identity: secret(t, ours), Carrier: "nats", Metrics: doors})
			want := map[string]float64{`bindu_edge_hops_total{carrier="nats",outcome="` + row.door + `"}`: 1}
			if row.timed > 0 {
				want[`bindu_edge_hop_duration_seconds_count{carrier="nats"}`] = row.timed
			}
			arrives := map[string]float64{`bindu_edge_hops_served_total{outcome="` + row.owner + `"}`: 1, `bindu_edge_newcomers_total{outcome="proven"}`: 1}
			metrictest.Want(t, owners, arrives, func() {
				metrictest.Want(t, doors, want, func() {
					ctx, cancel := context.WithCancelCause(t.Context())
					defer cancel(nil)
					if row.leave != nil {
						go func() {
							<-arrived
							cancel(row.leave)
						}()
					}
					res, err := c.To(holder, "t").RoundTrip(get(ctx, t))
					if (err == nil) != (row.door == "ok") {
						t.Errorf("got %v", err)
					}
					if err == nil {
						_ = res.Body.Close()
					}
				})
				<-done
				c.Close()
				_ = s.Close()
				if err := <-served; err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// A hop that could not be made has no answer to be timed, and nobody served it.
func TestHopThatCouldNotBeMade(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	c := NewClient(Options{Pod: door, Identity: secret(t, ours), Carrier: "direct", Metrics: registry, Dialer: dialFunc(
		func(context.Context, tunnel.PodID) (net.Conn, error) { return nil, ErrGone })})
	defer c.Close()
	metrictest.Want(t, registry, map[string]float64{`bindu_edge_hops_total{carrier="direct",outcome="relay_unavailable"}`: 1}, func() {
		_, err := ask(t, c.To(holder, "t"))
		notMade(t, err)
	})
}

// What a door makes of a pod that it can't connect to: gone, when that is certain,
// else only out of reach. Either way nobody has seen the request.
func TestWhyAHopCouldNotBeMade(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name    string
		dial    error
		want    error
		wantNot error
	}{
		{"its machine refuses", ErrGone, ErrGone, nil}, // also out of reach, which counts for less
		{"it was killed in the handshake", &net.OpError{Op: "read", Err: syscall.ECONNRESET}, ErrGone, ErrUnreachable},
		{"its address swallows everything", context.DeadlineExceeded, ErrUnreachable, ErrGone},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			c := client(t, dialFunc(func(context.Context, tunnel.PodID) (net.Conn, error) { return nil, row.dial }))
			_, err := ask(t, c.To(holder, "t"))
			notMade(t, err)
			if !errors.Is(err, row.want) || row.wantNot != nil && errors.Is(err, row.wantNot) {
				t.Errorf("got %v, want %v and not %v", err, row.want, row.wantNot)
			}
		})
	}
}
