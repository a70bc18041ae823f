package redis

import (
	"cmp"
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/redis/rueidis"

	"github.com/getbindu/bindu-edge/internal/tunnel"
)

// place is from memory, or asks.
func (r *Registry) place(ctx context.Context, id tunnel.ID, deadline time.Time) (place, error) {
	now := time.Now()
	if p, ok := r.view.tunnels.fresh(id, now); ok {
		return p, nil
	}
	return inquire(ctx, r, callLookup, r.view.tunnels, id, deadline.Sub(now), func(ctx context.Context, q *inquiry[place]) (place, error) {
		return r.lookUp(ctx, id, q)
	})
}

// lease is from memory, or asks.
func (r *Registry) lease(ctx context.Context, pod tunnel.PodID, deadline time.Time) (lease, error) {
	now := time.Now()
	if l, ok := r.view.pods.fresh(pod, now); ok {
		return l, nil
	}
	return inquire(ctx, r, callPeer, r.view.pods, pod, deadline.Sub(now), func(ctx context.Context, q *inquiry[lease]) (lease, error) {
		return r.lookUpPod(ctx, pod, q)
	})
}

// lookUp asks for all that is to be known of a tunnel.
func (r *Registry) lookUp(ctx context.Context, id tunnel.ID, q *inquiry[place]) (place, error) {
	asked := time.Now()
	answers, life := r.follow(ctx, r.client.B().Eval().Script(lookupScript).Numkeys(2).Key(claimKey(id), lostKey(id)).Build())
	words, err := answers[0].AsStrSlice()
	if err != nil {
		return place{}, err
	}
	f := found(words)
	p := place{claim: tunnel.Claim{Tunnel: id, Pod: tunnel.PodID(f.word(0)), Session: f.word(1), Instance: f.word(2)}}
	if p.claim.Pod == "" || p.claim.Session == "" {
		p.claim = tunnel.Claim{}
	}
	if left := f.life(4); left > 0 {
		p.expected = asked.Add(left)
	}
	r.view.tunnels.keep(id, q, &word[place]{value: p, at: asked, until: asked.Add(shorter(life, f.life(3)))})
	if p.claim.Session != "" {
		l := lease{address: f.word(5), stands: f.life(6) > 0}
		r.view.pods.keepBeside(p.claim.Pod, q.era, &word[lease]{value: l, at: asked, until: asked.Add(shorter(blindLife, f.life(6)))})
	}
	return p, nil
}

func (r *Registry) lookUpPod(ctx context.Context, pod tunnel.PodID, q *inquiry[lease]) (lease, error) {
	asked, b := time.Now(), r.client.B()
	answers, life := r.follow(ctx, b.Get().Key(podKey(pod)).Build(), b.Pttl().Key(podKey(pod)).Build())
	address, err := answers[0].ToString()
	if err != nil && !rueidis.IsRedisNil(err) {
		return lease{}, err
	}
	left, err := answers[1].AsInt64()
	if err != nil {
		return lease{}, err
	}
	l := lease{address: address, stands: left > 0}
	r.view.pods.keep(pod, q, &word[lease]{value: l, at: asked, until: asked.Add(shorter(life, time.Duration(left)*time.Millisecond))})
	return l, nil
}

// follow asks, and has Redis tell this connection when the keys of the first
// command have changed. The connection may be another one each time, so each
// question says what it needs; that costs no round trip. It also returns for
// how long the answers are good.
func (r *Registry) follow(ctx context.Context, commands ...rueidis.Completed) ([]rueidis.RedisResult, time.Duration) {
	b := r.client.B()
	answers := r.client.DoMulti(ctx, append([]rueidis.Completed{
		b.Hello().Build(), // which protocol this is
		b.ClientTracking().On().Optin().Build(),
		b.ClientCaching().Yes().Build(),
	}, commands...)...)
	err := refusal(answers)
	if err == nil {
		r.view.blind.Store(false)
		return answers[3:], followedLife
	}
	if answers[3].NonRedisError() == nil && r.view.blind.CompareAndSwap(false, true) {
		r.log.WarnContext(ctx, "redis does not tell of changes: what it says of tunnels is used for 1 s only", "error", err)
	}
	return answers[3:], blindLife
}

// refusal says why Redis will not tell of changes. Over RESP2 it agrees to, and
// tells nothing, since it has no words for it.
func refusal(answers []rueidis.RedisResult) error {
	hello, err := answers[0].AsMap()
	if err != nil {
		return err
	}
	proto := hello["proto"]
	if n, err := proto.AsInt64(); err != nil || n < 3 {
		return errOldProtocol
	}
	return cmp.Or(answers[1].Error(), answers[2].Error())
}

var errOldProtocol = errors.New("it speaks RESP2")

// shorter is life, or what Redis says is left, if that is shorter. Keys without
// an end, and without a value, say nothing of it.
func shorter(life, left time.Duration) time.Duration {
	if left > 0 {
		return min(life, left)
	}
	return life
}

// found is the answer of lookupScript. One of another length was not its.
type found []string

func (f found) word(i int) string {
	if i < len(f) {
		return f[i]
	}
	return ""
}

// life is a PTTL, which is negative for a key that has none, or is none.
func (f found) life(i int) time.Duration {
	ms, _ := strconv.ParseInt(f.word(i), 10, 64) // our own script's: a number, always
	return time.Duration(ms) * time.Millisecond
}
