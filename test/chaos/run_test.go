package chaos

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/getbindu/bindu-edge/agent"
	"github.com/getbindu/bindu-edge/internal/control"
	"github.com/getbindu/bindu-edge/test/machine"
	"github.com/getbindu/bindu-edge/test/planetest"
	"github.com/getbindu/bindu-edge/test/redistest"
)

const (
	podCount   = 3
	agentCount = 50
)

// run is one run: what is there, what was done to it, and what came of it.
type run struct {
	t       *testing.T
	seed    uint64
	random  *rand.Rand
	carrier string
	dir     string // the logs
	began   time.Time

	redis    *redistest.Server
	nats     *natsServer // nil unless it is the carrier
	pods     []*pod
	balancer *balancer
	agents   []*agentAt
	ledger   *ledger
	load     *load

	idle       []int // goroutines of each pod without agents and requests
	subscribed int   // subscriptions at NATS without pods
	excuses    []excuse
	machine    machine.Watch
	timeline   []string

	asker   *http.Client   // of what pods say of themselves
	byID    map[string]int // the tunnels
	looking sync.WaitGroup
	look    context.CancelFunc
}

func start(t *testing.T, seed uint64, random *rand.Rand, carrier string) *run {
	t.Helper()
	dir, err := os.MkdirTemp("", "bindu-edge-chaos") //nolint:usetesting // the logs of a failed run are kept
	if err != nil {
		t.Fatal(err)
	}
	r := &run{t: t, seed: seed, random: random, carrier: carrier, dir: dir, began: time.Now(), ledger: newLedger(),
		asker: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}, byID: map[string]int{}}
	t.Logf("seed %d, RELAY=%s; go test ./test/chaos -seed %d -carrier %s repeats it", seed, carrier, seed, carrier)
	t.Cleanup(r.report)
	r.redis = redistest.Start(t)
	if carrier == "nats" {
		r.nats = startNATS(t, dir)
		r.subscribed = r.nats.subscriptions()
	}
	plane, url := startPlane(t)
	r.watchMachine()
	var addrs []string
	for i := range podCount {
		p := newPod(t, i, carrier, dir, r.redis, r.nats, "CONTROL_PLANE_URL="+url)
		p.launch()
		r.pods, addrs = append(r.pods, p), append(addrs, p.addr)
	}
	for _, p := range r.pods {
		p.await()
	}
	r.balancer = startBalancer(t, addrs)
	eventually(t, "the balancer knows the pods", func() bool {
		for _, b := range r.balancer.pods {
			if !b.ready.Load() {
				return false
			}
		}
		return true
	})
	for _, p := range r.pods {
		r.idle = append(r.idle, p.goroutines())
	}

	log, err := os.Create(filepath.Join(dir, "agents.log"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = log.Close() })
	for i := range agentCount {
		made, token, err := plane.CreateTunnel(t.Context(), control.Create{ExpiresAt: time.Now().Add(100 * time.Hour)})
		if err != nil {
			t.Fatal(err)
		}
		a := &agentAt{
			index: i, id: string(made.ID), slug: string(made.Slug), token: token, protocol: agent.H2, ledger: r.ledger,
			edge: "http://" + r.balancer.addr, logger: slog.New(slog.NewJSONHandler(log, nil)).With("agent", i),
		}
		if i%2 == 1 {
			a.protocol = agent.JSON
		}
		r.agents, r.byID[a.id] = append(r.agents, a), i
	}
	r.load = &load{ledger: r.ledger, balancer: r.balancer, agents: r.agents, seed: seed, rate: fullRate, slots: make(chan struct{}, mostUnderWay)}
	t.Cleanup(func() {
		if r.load.stop != nil {
			r.load.stop()
		}
		r.each(r.agents, (*agentAt).leave)
	})
	r.restart()
	r.watchOwners()
	if err := r.load.begin(t.Context(), *leastFlag); err != nil {
		t.Fatal(err)
	}
	r.note("everything is up, with %d requests a second", r.load.rate)
	return r
}

func startPlane(t *testing.T) (*control.Plane, string) {
	t.Helper()
	plane := planetest.New(t)
	server := httptest.NewServer(plane.Handler())
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	return plane, server.URL
}

// restart starts all agents anew.
func (r *run) restart() {
	r.t.Helper()
	r.each(r.agents, func(a *agentAt) { a.leave(); a.start() })
	eventually(r.t, "all agents are linked", func() bool { return linked(r.agents) })
}

func (r *run) note(format string, args ...any) {
	text := fmt.Sprintf("+%6.1fs %s", time.Since(r.began).Seconds(), fmt.Sprintf(format, args...))
	r.timeline = append(r.timeline, time.Now().Format("15:04:05.000 ")+text)
	if testing.Verbose() {
		r.t.Log(text)
	}
}

// holders is the pod that holds each tunnel, by place; -1 = none.
func (r *run) holders() ([]int, error) {
	ids := make([]string, len(r.agents))
	for i, a := range r.agents {
		ids[i] = a.id
	}
	known, err := owners(r.t.Context(), r.redis.Admin, ids)
	if err != nil {
		return nil, err
	}
	places := map[string]int{}
	for _, p := range r.pods {
		places[p.id] = p.index
	}
	all := make([]int, len(known))
	for i, o := range known {
		all[i] = -1
		if place, ok := places[o.claim]; ok {
			all[i] = place
		}
	}
	return all, nil
}

// settled says whether every tunnel is held by a pod.
func (r *run) settled() bool {
	holders, err := r.holders()
	if err != nil || !linked(r.agents) {
		return false
	}
	for _, place := range holders {
		if place < 0 {
			return false
		}
	}
	return true
}

// watchOwners looks again and again whether Redis says the same in all places of
// who holds a tunnel: one pod or none.
func (r *run) watchOwners() {
	ctx, cancel := context.WithCancel(context.Background())
	r.look = cancel
	r.t.Cleanup(func() { cancel(); r.looking.Wait() })
	ids := make([]string, len(r.agents))
	for i, a := range r.agents {
		ids[i] = a.id
	}
	r.looking.Go(func() { r.watchLinks(ctx) })
	addr := r.redis.Addr()
	r.looking.Go(func() {
		for ctx.Err() == nil {
			lookAtOwners(ctx, addr, ids, r.ledger)
			pause(ctx, 500*time.Millisecond) // Redis is away
		}
	})
}

// lookAtOwners returns when Redis can't be asked.
func lookAtOwners(ctx context.Context, addr string, ids []string, l *ledger) {
	redis, err := newClient(addr)
	if err != nil {
		return
	}
	defer redis.Close()
	for ctx.Err() == nil {
		all, err := owners(ctx, redis, ids)
		if err != nil {
			return
		}
		for i, o := range all {
			if o.tunnel != o.claim || strings.Contains(o.listed, ",") || o.listed != "" && o.listed != o.claim {
				l.violation("tunnel %d (%s) is held by %q by its key, %q by its claim, and listed by the pods %q", i, ids[i], o.tunnel, o.claim, o.listed)
			}
		}
		pause(ctx, 150*time.Millisecond)
	}
}
