package scenario

import (
	"context"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"time"

	"github.com/getbindu/bindu-edge/bench/load"
	"github.com/getbindu/bindu-edge/bench/rawagent"
	"github.com/getbindu/bindu-edge/bench/report"
	"github.com/getbindu/bindu-edge/bench/stage"
	"github.com/getbindu/bindu-edge/internal/wire"

	"golang.org/x/sync/errgroup"
)

const (
	revokeTries = 200
	revokeP99   = 500 // ms
)

// revoke measures how long it takes from the call that revokes a tunnel until the
// agent sees its link closed, on pods that have it from a control plane elsewhere.
func revoke(ctx context.Context, e *Env) ([]report.Row, error) {
	plane, pods, err := e.followed(ctx, "revoke")
	if err != nil {
		return nil, err
	}
	defer plane.Stop()
	for _, p := range pods {
		defer p.Stop()
	}
	var times load.Histogram
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		defer cancel()
		for n := range revokeTries {
			took, err := revokeOne(ctx, group, plane, pods[n%len(pods)])
			if err != nil {
				return fmt.Errorf("try %d: %w", n+1, err)
			}
			times.Record(took)
		}
		return nil
	})
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return []report.Row{{
		Scenario: "revoke", Measure: fmt.Sprintf("until the link is closed, p99 of %d", revokeTries), Unit: "ms",
		Ours: milliseconds(times.Quantile(0.99)), MaxOurs: revokeP99,
		Note: fmt.Sprintf("p50, p90, max %.1f, %.1f, %.1f ms; %d pods, control plane on SQLite", milliseconds(times.Quantile(0.5)),
			milliseconds(times.Quantile(0.9)), milliseconds(times.Quantile(1)), len(pods)),
	}}, nil
}

// linkPatience bounds the wait for a link to come up, or to end.
const linkPatience = 10 * time.Second

// revokeOne makes a tunnel with an agent at a pod, and revokes it.
func revokeOne(ctx context.Context, group *errgroup.Group, plane *stage.Control, pod *stage.Edge) (time.Duration, error) {
	t, err := tunnelOf(ctx, plane, "")
	if err != nil {
		return 0, err
	}
	linked, ended := make(chan struct{}), make(chan struct{ at time.Time })
	late, stop := context.WithTimeout(ctx, linkPatience)
	defer stop()
	var cause error // set before ended
	group.Go(func() error {
		cause = rawagent.Serve(late, rawagent.One{Edge: pod.Addr, Protocol: wire.ProtocolH2, Tunnel: t.ID, Token: t.Token}, func() { close(linked) })
		select {
		case ended <- struct{ at time.Time }{time.Now()}:
		case <-late.Done():
		}
		return nil
	})
	select {
	case <-linked:
	case <-ended:
		return 0, fmt.Errorf("the link ended before its time: %w", cause)
	case <-late.Done():
		return 0, fmt.Errorf("no link: %w", late.Err())
	}
	began := time.Now()
	if err := ask(ctx, plane, http.MethodPost, "/api/v1/tunnels/"+t.ID+"/revoke", "", nil); err != nil {
		return 0, err
	}
	select {
	case end := <-ended:
		return end.at.Sub(began), nil
	case <-late.Done():
		return 0, fmt.Errorf("the link stays: %w", late.Err())
	}
}

// followed starts a control plane on SQLite and two pods that know each other and
// follow its events.
func (e *Env) followed(ctx context.Context, name string, env ...string) (*stage.Control, []*stage.Edge, error) {
	s := e.opts.Stage
	redis, err := s.Redis(ctx)
	if err != nil {
		return nil, nil, err
	}
	plane, err := s.Control(ctx, "DATA_DIR="+filepath.Join(s.Dir(), name))
	if err != nil {
		return nil, nil, err
	}
	key, err := edgeKey(ctx, plane)
	if err != nil {
		return nil, nil, err
	}
	pods := make([]*stage.Edge, 2)
	for i := range pods {
		// Without asking again from time to time, or that could be what was measured.
		pods[i], err = s.Edge(ctx, false, append([]string{
			"CONTROL_PLANE_URL=" + plane.URL, "CONTROL_PLANE_TOKEN=" + key, "EPHEMERAL_TUNNELS=false", "TUNNEL_REVALIDATE_SECONDS=3600",
			"REGISTRY=redis", "REDIS_HOST=127.0.0.1", fmt.Sprint("REDIS_PORT=", redis),
			"RELAY=direct", "PEER_ADDR=127.0.0.1:0", "PEER_SECRET=" + strings.Repeat("s", 32),
		}, env...)...)
		if err != nil {
			return nil, nil, err
		}
	}
	return plane, pods, nil
}
