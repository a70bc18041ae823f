package edge

import (
	"cmp"
	"context"
	"math"
	"runtime/debug"
	"runtime/metrics"
	"slices"
	"strings"
	"time"

	"github.com/getbindu/bindu-edge/internal/attach"
	"github.com/getbindu/bindu-edge/internal/ops"
	"github.com/getbindu/bindu-edge/internal/podstatus"
	"github.com/getbindu/bindu-edge/internal/registry/redis"
	"github.com/getbindu/bindu-edge/internal/relay"
)

// leased is a registry that is shared between pods.
type leased interface{ Lease() redis.Lease }

// counting is one that is this pod's alone.
type counting interface{ Len() int }

// status says what the pod does. Each part is copied under its own lock; what is
// sorted and counted is a copy.
func (e *Edge) status(_ context.Context, q podstatus.Query) podstatus.Status {
	now := time.Now()
	s := podstatus.Status{
		Pod:          podstatus.Pod{ID: string(e.pod), Version: e.version, StartedAt: utc(e.started), Uptime: seconds(now.Sub(e.started))},
		Requests:     podstatus.Requests{InFlight: e.ingress.InFlight()},
		Registry:     e.registryStatus(now),
		Dependencies: e.health.Dependencies(),
		Peers:        e.peers.status(e.cfg.Relay),
		LinkEnds:     linkEnds(e.attach.Ends()),
		Memory:       e.memoryStatus(),
	}
	s.Pod.Status, s.Pod.Ready, s.Pod.Draining, s.Pod.Why = e.health.Pod()
	s.Tunnels, s.Requests.AtAgents = tunnels(e.attach.Links(), q)
	if s.Registry.Kind == "memory" {
		for i := range s.Dependencies {
			if s.Dependencies[i].Name == "registry" {
				s.Dependencies[i].Latency = nil // nobody is asked
			}
		}
	}
	return s
}

func (e *Edge) registryStatus(now time.Time) podstatus.Registry {
	s := podstatus.Registry{Kind: e.cfg.RegistryKind, Connected: true}
	switch r := e.claims.(type) {
	case leased:
		lease := r.Lease()
		s.Connected, s.Claims = lease.Connected, lease.Claims
		if !lease.Refreshed.IsZero() {
			s.RefreshedAt, s.HeldUntil, s.Age = utc(lease.Refreshed), utc(lease.Until), new(seconds(now.Sub(lease.Refreshed)))
		}
	case counting:
		s.Claims = r.Len()
	}
	return s
}

// tunnels lists the links that q asks for, and counts all of them.
func tunnels(links []attach.LinkState, q podstatus.Query) (s podstatus.Tunnels, atAgents int) {
	s = podstatus.Tunnels{Total: len(links), List: []podstatus.Tunnel{}}
	found := links[:0]
	for _, l := range links {
		if l.Protocol == "h2" {
			s.H2++
		} else {
			s.JSON++
		}
		s.Streams += l.Streams
		s.Unread += l.Unread
		atAgents += l.InFlight
		if q.Tunnel == "" || q.Tunnel == string(l.Tunnel) || q.Tunnel == string(l.Slug) {
			found = append(found, l)
		}
	}
	s.Found = len(found)
	slices.SortFunc(found, order(q.Sort))
	for _, l := range found[:min(len(found), q.Limit)] {
		s.List = append(s.List, podstatus.Tunnel{
			ID: string(l.Tunnel), Slug: string(l.Slug), Protocol: l.Protocol, Since: utc(l.Since), Remote: l.Remote, Agent: l.Agent,
			InFlight: l.InFlight, Requests: l.Requests, Streams: l.Streams, Unread: l.Unread,
		})
	}
	return s, atAgents
}

// order puts the most of by first, and of equals the newest.
func order(by string) func(a, b attach.LinkState) int {
	return func(a, b attach.LinkState) int {
		most := 0
		switch by {
		case "in_flight":
			most = cmp.Compare(b.InFlight, a.InFlight)
		case "requests":
			most = cmp.Compare(b.Requests, a.Requests)
		case "unread_bytes":
			most = cmp.Compare(b.Unread, a.Unread)
		}
		return cmp.Or(most, b.Since.Compare(a.Since), strings.Compare(string(a.Tunnel), string(b.Tunnel)))
	}
}

func linkEnds(ends []attach.LinkEnd) []podstatus.LinkEnd {
	list := make([]podstatus.LinkEnd, len(ends))
	for i, l := range ends {
		list[i] = podstatus.LinkEnd{
			Tunnel: string(l.Tunnel), Protocol: l.Protocol, Reason: string(l.Reason), Detail: podstatus.Text(l.Err),
			Since: utc(l.Since), EndedAt: utc(l.EndedAt), Lasted: seconds(l.EndedAt.Sub(l.Since)), Remote: l.Remote,
		}
	}
	return list
}

// status of a nil p says that there are no peers.
func (p *peers) status(carrier string) podstatus.Peers {
	s := podstatus.Peers{Carrier: "none", List: []podstatus.Peer{}}
	if p == nil {
		return s
	}
	s.Carrier = carrier
	inbound := p.server.Inbound()
	for _, o := range p.client.Peers() {
		s.List = append(s.List, peerStatus(o, inbound[o.Pod]))
		delete(inbound, o.Pod)
	}
	for pod, n := range inbound {
		s.List = append(s.List, peerStatus(relay.PeerState{Pod: pod}, n))
	}
	slices.SortFunc(s.List, func(a, b podstatus.Peer) int { return strings.Compare(a.Pod, b.Pod) })
	s.List = s.List[:min(len(s.List), podstatus.MaxPeers)]
	return s
}

func peerStatus(o relay.PeerState, inbound int) podstatus.Peer {
	return podstatus.Peer{
		Pod: string(o.Pod), Address: o.Address, Connected: o.Connected, Since: utc(o.Since), InFlight: o.InFlight, Unread: o.Unread,
		Inbound: inbound, Error: podstatus.Text(o.Err), ErrorAt: utc(o.ErrAt),
	}
}

// checks are of the message bus that hops go over, if there is one. Without it
// the pod still serves its own tunnels, so its readiness does not ask for it.
func (p *peers) checks() map[string]ops.Check {
	if p == nil || p.carrier == nil {
		return nil
	}
	return map[string]ops.Check{"relay": func(context.Context) error { return p.carrier.Ping() }}
}

func (e *Edge) memoryStatus() podstatus.Memory {
	samples := []metrics.Sample{
		{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/memory/classes/total:bytes"},
		{Name: "/memory/classes/heap/released:bytes"}, {Name: "/sched/goroutines:goroutines"},
	}
	metrics.Read(samples)
	value := func(i int) uint64 { return samples[i].Value.Uint64() }
	m := podstatus.Memory{
		Heap: value(0), Used: value(1) - value(2), Goroutines: int(value(3)), Pressure: e.pressure.High(),
	}
	if limit := debug.SetMemoryLimit(-1); limit != math.MaxInt64 {
		m.Limit = limit
	}
	return m
}

// utc is t as the document has it, to the millisecond.
func utc(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return t.UTC().Truncate(time.Millisecond)
}

func seconds(d time.Duration) float64 { return float64(d.Milliseconds()) / 1000 }
