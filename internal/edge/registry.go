package edge

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/getbindu/bindu-edge/internal/attach"
	"github.com/getbindu/bindu-edge/internal/hub"
	"github.com/getbindu/bindu-edge/internal/registry/memory"
	"github.com/getbindu/bindu-edge/internal/registry/redis"
	"github.com/getbindu/bindu-edge/internal/relay/direct"
	"github.com/getbindu/bindu-edge/internal/resolve"
	"github.com/getbindu/bindu-edge/internal/route"
	"github.com/getbindu/bindu-edge/internal/tunnel"
)

// registry is what the steps want of whichever registry is set.
type registry interface {
	hub.Registry
	route.Registry
	attach.Slugs
}

// keeper is a registry that needs care while the pod runs.
type keeper interface {
	Run(context.Context)
	Close(context.Context) error
	Ping(context.Context) error
	direct.Addresses
}

// openRegistry makes the registry of the configuration. The second and third
// result are nil for one that needs no care, and shares nothing.
func (e *Edge) openRegistry() (registry, keeper, resolve.Shared, error) {
	cfg := e.cfg
	if cfg.RegistryKind == "memory" {
		return memory.New(), nil, nil, nil
	}
	r, err := redis.New(redis.Options{
		Pod: e.pod, PeerAddress: e.advertise,
		Host: cfg.RedisHost, Port: cfg.RedisPort, SentinelMaster: cfg.RedisSentinel, DB: cfg.RedisDB,
		Username: cfg.RedisUsername, Password: cfg.RedisPassword.Reveal(), TLS: redisTLS(cfg),
		TTL: cfg.TunnelRegistryTTL, PodLease: cfg.PodLease, SlugTTL: cfg.SlugCacheTTL,
		Lost: func(mine, holder tunnel.Claim) {
			e.hub.Moved(mine, mine.Instance != "" && mine.Instance == holder.Instance)
		},
		Logger: e.log, Metrics: e.metrics,
	})
	if err != nil {
		return nil, nil, nil, fmt.Errorf("registry: %w", err)
	}
	return r, r, r.SlugCache(), nil
}

// releaseTimeout bounds the removal of this pod's keys at the end.
const releaseTimeout = 2 * time.Second

// keepRegistry runs what the registry needs. The returned function ends that and
// takes the pod out of the registry; no link may be left then.
func (e *Edge) keepRegistry(ctx context.Context) (leave func()) {
	if e.registry == nil {
		return func() {}
	}
	ctx, stop := context.WithCancel(ctx)
	var running sync.WaitGroup
	running.Go(func() { e.registry.Run(ctx) })
	return func() {
		stop()
		running.Wait()
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseTimeout)
		defer cancel()
		if err := e.registry.Close(ctx); err != nil {
			e.log.Warn("this pod's keys were not removed, and lapse with its lease", "error", err)
		}
	}
}
