package redis

import (
	"fmt"
	"strconv"
	"time"

	"github.com/redis/rueidis"

	"github.com/getbindu/bindu-edge/internal/tunnel"
)

// Who may delete or change a registry entry? Only the session that is written
// in it, and whoever takes over from it by the rules of claimScript. Each
// script is one such decision, and Redis runs nothing else meanwhile. They
// build some key names themselves, which a Redis Cluster would not allow.
//
//	tunnel:{tunnel_id}     the owner's pod id, for those who know no claims
//	claim:{tunnel_id}      hash: pod, session, instance; slug if one is bound to it,
//	                       kept if the agent may have that again, and for how long
//	pod:{pod_id}           the pod's peer address; while it stands, its claims do
//	pod:{pod_id}:tunnels   set of tunnel ids
//	slug:{slug}            tunnel id
//	agent:{instance}       the slug that an agent has again when it comes back. It lives
//	                       with the claim, and for a while after that was given up
//	lost:{tunnel_id}       the pod that gave the claim up and expects the tunnel back:
//	                       its link was lost or drained a moment ago. It lives as long
//	                       as that is expected (5 s by default, never refreshed), until
//	                       a claim deletes it, and says nothing of who holds the tunnel
//
// A `tunnel:` without a `claim:` has no session and no lease: it counts as
// lapsed, and is overwritten. So is a `claim:` or `slug:` of another type, which
// somebody else has written: no claim can stand in it. Every script may run twice
// without harm.

// shared is what scripts know of claims. KEYS and ARGV are those of call.
const shared = `
local claim, tunnel = KEYS[1], KEYS[2]
local id, session = ARGV[1], ARGV[2]

-- A key of a type that we never write says nothing; any other error is one.
local function read(...)
  local got = redis.pcall(...)
  if type(got) == 'table' and got.err then
    if string.find(got.err, 'WRONGTYPE', 1, true) then return false end
    return redis.call(...)
  end
  return got
end

local function holder(of)
  local h = read('HMGET', 'claim:' .. of, 'pod', 'session', 'instance', 'slug', 'kept') or {}
  return { pod = h[1], session = h[2], instance = h[3] or '', slug = h[4], kept = tonumber(h[5] or '0') or 0 }
end

-- A claim is valid only while the lease of its pod stands, whatever its own TTL.
local function valid(h)
  return h.pod and h.session and redis.call('EXISTS', 'pod:' .. h.pod) == 1
end

-- The slug may be another tunnel's by now.
local function drop_slug(slug)
  if slug and read('GET', 'slug:' .. slug) == id then redis.call('DEL', 'slug:' .. slug) end
end

-- An agent has one slug to come back to: that of its newest tunnel, which an
-- older one leaves alone.
local function remember(instance, slug, life)
  if instance == '' then return end
  local noted = read('GET', 'agent:' .. instance)
  if not noted or noted == slug then redis.call('SET', 'agent:' .. instance, slug, 'PX', life) end
end

local function forget(h)
  if h.slug and h.kept > 0 and read('GET', 'agent:' .. h.instance) == h.slug then
    redis.call('DEL', 'agent:' .. h.instance)
  end
end

-- Bound is a slug that the claim of its tunnel names too, and only if that is
-- valid. Any other 'slug:' is an answer somebody remembered, or a leftover.
local function taken(slug)
  local other = read('GET', 'slug:' .. slug)
  if not other or other == id then return false end
  local h = holder(other)
  return h.slug == slug and valid(h)
end

local function told(verdict, h)
  return { verdict, h.pod or '', h.session or '', h.instance or '' }
end
`

// write puts a claim of this session down, whole, and renews the pod's lease
// with it: a claim without a lease would be nobody's. slug may be false; kept is
// for how many milliseconds after it the agent has the slug again.
const write = `
local function write(old, pod, instance, slug, kept)
  local ttl, lease_ttl, address = ARGV[5], ARGV[6], ARGV[7]
  local set = 'pod:' .. pod .. ':tunnels'
  if old.pod and old.pod ~= pod then
    redis.call('SREM', 'pod:' .. old.pod .. ':tunnels', id)
  end
  if old.instance ~= instance then forget(old) end
  redis.call('DEL', claim)
  redis.call('HSET', claim, 'pod', pod, 'session', session, 'instance', instance)
  redis.call('PEXPIRE', claim, ttl)
  redis.call('SET', tunnel, pod, 'PX', ttl)
  if slug and not taken(slug) then
    redis.call('HSET', claim, 'slug', slug)
    redis.call('SET', 'slug:' .. slug, id, 'PX', ttl)
    if kept > 0 then
      redis.call('HSET', claim, 'kept', kept)
      remember(instance, slug, math.max(ttl, kept))
    end
  end
  redis.call('SADD', set, id)
  redis.call('PEXPIRE', set, lease_ttl)
  redis.call('SET', 'pod:' .. pod, address, 'PX', lease_ttl)
end
`

// claimScript takes a tunnel that is free, that this session has already, or
// that may be taken over: from the same agent process (instance), from the
// session that was found silent (ARGV[8]), and from a pod whose lease lapsed.
// A slug stays with a tunnel as long as somebody validly holds that.
var claimScript = rueidis.NewLuaScript(shared + write + `
local pod, instance, replacing = ARGV[3], ARGV[4], ARGV[8]
local old = holder(id)
local function take(slug)
  write(old, pod, instance, slug, old.kept)
  redis.call('DEL', 'lost:' .. id)
end
if old.session == session then
  take(old.slug)
  return told('own', {})
end
if not valid(old) then
  drop_slug(old.slug)
  take(false)
  return told('free', {})
end
if (instance ~= '' and old.instance == instance) or (replacing ~= '' and old.session == replacing) then
  take(old.slug)
  return told('taken over', old)
end
return told('held', old)
`)

// refreshScript renews the claim of the session that holds it. With ARGV[8] =
// 'restore' it also puts back one that Redis has forgotten, or that lapsed; it
// never takes over, since a tunnel that went to another pod meanwhile is that
// one's. ARGV[9] is the slug that the pod remembers, or empty, and ARGV[10] how
// long it is kept for the agent. A 'lost:' stays: what is restored may have been given up meanwhile, and is then once more.
var refreshScript = rueidis.NewLuaScript(shared + write + `
local restore, remembered, kept = ARGV[8] == 'restore', ARGV[9], tonumber(ARGV[10])
local old = holder(id)
local own = old.session == session
if not own and (valid(old) or not restore) then return told('held', old) end
if own then
  write(old, old.pod, old.instance, old.slug or (remembered ~= '' and remembered), old.slug and old.kept or kept)
else
  drop_slug(old.slug)
  write(old, ARGV[3], ARGV[4], remembered ~= '' and remembered, kept)
end
return told(own and 'own' or 'free', {})
`)

// releaseScript is compare-and-delete by session: a late goodbye removes
// nothing of a newer one. ARGV[8] is for how many milliseconds more the tunnel
// is expected back; 0 = not at all. ARGV[9] is how many have gone by since it was
// given up: the agent has its slug again for that much less.
var releaseScript = rueidis.NewLuaScript(shared + `
local old = holder(id)
if old.session ~= session then return told('held', old) end
drop_slug(old.slug)
if old.slug and old.kept > tonumber(ARGV[9]) then
  remember(old.instance, old.slug, old.kept - ARGV[9])
else
  forget(old)
end
redis.call('DEL', claim, tunnel)
redis.call('SREM', 'pod:' .. old.pod .. ':tunnels', id)
if tonumber(ARGV[8]) > 0 then redis.call('SET', 'lost:' .. id, old.pod, 'PX', ARGV[8]) end
return told('own', {})
`)

// bindScript gives the tunnel of a claim the slug ARGV[8] in place of its old one,
// and keeps it for the agent for ARGV[9] milliseconds after the claim; 0 = not.
var bindScript = rueidis.NewLuaScript(shared + `
local slug, ttl, kept = ARGV[8], ARGV[5], tonumber(ARGV[9])
local old = holder(id)
if old.session ~= session then return told('held', old) end
if taken(slug) then return told('taken', {}) end
if old.slug ~= slug then drop_slug(old.slug) end
forget(old)
redis.call('HSET', claim, 'slug', slug, 'kept', kept)
redis.call('SET', 'slug:' .. slug, id, 'PX', ttl)
if kept > 0 and old.instance ~= '' then
  redis.call('SET', 'agent:' .. old.instance, slug, 'PX', math.max(ttl, kept))
end
return told('own', {})
`)

// lookupScript is all that is to be known of a tunnel at one moment, in one round
// trip: its claim, the lease of the claim's pod, and how long they live. Redis
// tracks a script's KEYS as it does a command's, so it tells of changes of the
// claim and not of the lease, whose name nobody knows before.
const lookupScript = `
local h = redis.pcall('HMGET', KEYS[1], 'pod', 'session', 'instance')
if h.err then
  if not string.find(h.err, 'WRONGTYPE', 1, true) then return h end
  h = {} -- no claim
end
local address, lease = false, -2
if h[1] then
  address = redis.call('GET', 'pod:' .. h[1])
  lease = redis.call('PTTL', 'pod:' .. h[1])
end
return {
  h[1] or '', h[2] or '', h[3] or '', tostring(redis.call('PTTL', KEYS[1])),
  tostring(redis.call('PTTL', KEYS[2])), address or '', tostring(lease),
}
`

// The verdicts of the scripts.
const (
	verdictOwn       = "own"        // this session had it already
	verdictFree      = "free"       // nobody held it validly
	verdictTakenOver = "taken over" // from the holder that is told
	verdictHeld      = "held"       // by the holder that is told, if any; nothing was changed
	verdictTaken     = "taken"      // the slug, by another tunnel
)

// verdict is what a script answered.
type verdict struct {
	what   string
	holder tunnel.Claim
}

func parseVerdict(id tunnel.ID, res rueidis.RedisResult) (verdict, error) {
	words, err := wordsOf(res, 4)
	if err != nil {
		return verdict{}, err
	}
	v := verdict{what: words[0]}
	if words[2] != "" {
		v.holder = tunnel.Claim{Tunnel: id, Pod: tunnel.PodID(words[1]), Session: words[2], Instance: words[3]}
	}
	return v, nil
}

// wordsOf is an answer of so many words, of which one that is not there is empty.
// Redis gives no other number of them; what answers in its place may.
func wordsOf(res rueidis.RedisResult, want int) ([]string, error) {
	words, err := res.AsStrSlice()
	if err == nil && len(words) != want {
		err = fmt.Errorf("an answer of %d words where %d were due", len(words), want)
	}
	return words, err
}

// call is one run of a script for a claim.
func (r *Registry) call(c tunnel.Claim, more ...string) rueidis.LuaExec {
	return rueidis.LuaExec{
		Keys: []string{claimKey(c.Tunnel), tunnelKey(c.Tunnel)},
		Args: append([]string{
			string(c.Tunnel), c.Session, string(c.Pod), c.Instance,
			milliseconds(r.opts.TTL), milliseconds(r.opts.PodLease), r.opts.PeerAddress,
		}, more...),
	}
}

func milliseconds(d time.Duration) string { return strconv.FormatInt(max(d.Milliseconds(), 1), 10) }

func tunnelKey(id tunnel.ID) string         { return "tunnel:" + string(id) }
func claimKey(id tunnel.ID) string          { return "claim:" + string(id) }
func lostKey(id tunnel.ID) string           { return "lost:" + string(id) }
func podKey(pod tunnel.PodID) string        { return "pod:" + string(pod) }
func podTunnelsKey(pod tunnel.PodID) string { return "pod:" + string(pod) + ":tunnels" }
func pingKey(pod tunnel.PodID) string       { return "pod:" + string(pod) + ":ping" } // there never is one
func slugKey(slug tunnel.Slug) string       { return "slug:" + string(slug) }
func agentKey(instance string) string       { return "agent:" + instance }
