package redis

import (
	"errors"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

	"github.com/getbindu/bindu-edge/internal/tunnel"
)

// view is what this pod knows of everybody's claims and leases. Redis is asked
// to tell when one of the keys changes (client tracking), so most questions of
// who holds a tunnel are answered from memory.
type view struct {
	era     atomic.Int64 // a new one begins with each connection, each loss of one, and when all keys are dropped
	tunnels *told[tunnel.ID, place]
	pods    *told[tunnel.PodID, lease]
	blind   atomic.Bool // Redis refuses to tell
}

// place is what Redis says of a tunnel. Whether the claim is valid is for the
// lease of its pod to say.
type place struct {
	claim    tunnel.Claim // no session = there is none
	expected time.Time    // until when its return is expected; zero = it is not
}

// lease is what Redis says of a pod.
type lease struct {
	address string
	stands  bool
}

// Life of what Redis said.
const (
	// While Redis tells of changes: should it fail to, no wrong guess lives longer.
	followedLife = 10 * time.Second
	// While it refuses to.
	blindLife = time.Second
)

// How much is remembered.
const (
	maxTunnels = 100_000
	maxPods    = 4096
)

func newView() (*view, error) {
	v := &view{}
	var tunnels, pods error
	v.tunnels, tunnels = newTold[tunnel.ID, place](maxTunnels, &v.era)
	v.pods, pods = newTold[tunnel.PodID, lease](maxPods, &v.era)
	return v, errors.Join(tunnels, pods)
}

// invalidated is told by Redis which keys have changed; nil is all of them. It
// is called for the connection, which reads nothing meanwhile.
func (v *view) invalidated(keys []rueidis.RedisMessage) {
	if keys == nil {
		v.era.Add(1)
	}
	for i := range keys {
		if name, err := keys[i].ToString(); err == nil {
			v.changed(name)
		}
	}
}

func (v *view) changed(name string) {
	kind, id, _ := strings.Cut(name, ":")
	switch kind {
	case "claim", "lost":
		v.tunnels.drop(tunnel.ID(id))
	case "pod":
		v.pods.drop(tunnel.PodID(id))
	}
}
