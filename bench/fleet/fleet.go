// Package fleet runs many of the SDK's agents, with their own patience and
// backoff, and says when the tunnel of each answers requests. It decides nothing;
// its edges are the benchmark's, and trusted.
package fleet

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/getbindu/bindu-edge/agent"
)

// Tunnel is one agent's.
type Tunnel struct {
	ID    string `json:"tunnel_id"`
	Slug  string `json:"slug"`
	Token string `json:"token"`
}

// Options configure a Fleet. All are required.
type Options struct {
	Pods    []string // host:port; agents and callers come to the first that is there
	Tunnels []Tunnel
	// Serves is called when a request to a tunnel was answered by its agent for
	// the first time since the agent has linked, once for each link. Calls may be
	// concurrent.
	Serves func(slug string, at time.Time)
}

// Fleet is the agents and a load balancer in front of the pods. Make it with New.
type Fleet struct {
	opts   Options
	client *http.Client
	url    string // of the balancer
	asking chan struct{}
}

const (
	mostAsking = 64                    // requests at once
	retryAfter = 20 * time.Millisecond // to the next request for a tunnel that does not answer
)

// New makes a Fleet. It connects nowhere.
func New(o Options) *Fleet {
	return &Fleet{
		opts: o, asking: make(chan struct{}, mostAsking),
		client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: mostAsking}, Timeout: 10 * time.Second},
	}
}

// Run runs the agents until ctx ends, or one of them gives up, which is an error.
func (f *Fleet) Run(ctx context.Context) error {
	defer f.client.CloseIdleConnections()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	f.url = "http://" + l.Addr().String()
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return balance(ctx, l, f.opts.Pods) })
	for _, t := range f.opts.Tunnels {
		group.Go(func() error {
			err := f.run(ctx, t)
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("agent of %s: %w", t.Slug, err)
		})
	}
	return group.Wait()
}

// run is one agent, and its caller after each new link.
func (f *Fleet) run(ctx context.Context, t Tunnel) error {
	linked := make(chan struct{}, 1)
	a, err := agent.New(agent.Options{
		Edge: f.url, TunnelID: t.ID, Token: t.Token, ShutdownTimeout: time.Second,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, t.ID) }),
		OnState: func(s agent.State) {
			if s.Phase == agent.Online {
				select {
				case linked <- struct{}{}:
				default: // the caller has not even begun with the one before
				}
			}
		},
	})
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return a.Run(ctx) })
	group.Go(func() error {
		for {
			select {
			case <-linked:
			case <-ctx.Done():
				return nil
			}
			if err := f.until(ctx, t); err != nil {
				return err
			}
			f.opts.Serves(t.Slug, time.Now())
		}
	})
	return group.Wait()
}

// until asks until the tunnel answers.
func (f *Fleet) until(ctx context.Context, t Tunnel) error {
	pause := time.NewTimer(0)
	defer pause.Stop()
	for {
		select {
		case <-pause.C:
		case <-ctx.Done():
			return nil
		}
		select {
		case f.asking <- struct{}{}:
		case <-ctx.Done():
			return nil
		}
		right, err := f.ask(ctx, t)
		<-f.asking
		if right || err != nil {
			return err
		}
		pause.Reset(retryAfter)
	}
}

// ask makes one request. Another tunnel's answer is an error; none, or an edge's
// own, is not yet right.
func (f *Fleet) ask(ctx context.Context, t Tunnel) (right bool, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, f.url+"/local_tunnel/"+t.Slug+"/", nil)
	if err != nil {
		return false, err
	}
	res, err := f.client.Do(req)
	if err != nil {
		return false, nil //nolint:nilerr // the pod is gone, or the balancer's way to it
	}
	defer func() { _ = res.Body.Close() }() // it was read
	text, err := io.ReadAll(io.LimitReader(res.Body, 4<<10))
	if err != nil || res.StatusCode != http.StatusOK {
		return false, nil //nolint:nilerr // as above
	}
	if string(text) != t.ID {
		return false, fmt.Errorf("%s answers for %s", text, t.ID)
	}
	return true, nil
}
