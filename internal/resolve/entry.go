package resolve

import (
	"errors"
	"time"

	"github.com/getbindu/bindu-edge/internal/fault"
	"github.com/getbindu/bindu-edge/internal/tunnel"
)

// Made once, so that a flood of refusals allocates nothing.
var (
	errNotFound = fault.New(fault.TunnelNotFound, "No tunnel has this name.")
	errExpired  = fault.New(fault.TunnelExpired, "The tunnel of this name has expired.")
	errRevoked  = fault.New(fault.TunnelRevoked, "The tunnel of this name was revoked.")
)

// retryAfter is how long a failure keeps a slug from being asked for again.
const retryAfter = time.Second

// awayMemory is how long after a failure a known slug is answered from the
// cache at once while the question runs behind it: the same slug after any
// failure, all slugs after silence. Without it each request past the TTL would
// wait for a source that has nothing to say. No longer than the TTL, so
// that a revocation made once the source is back still takes hold within it;
// at least the 5 s in which a source that came back has to be used again.
func awayMemory(ttl time.Duration) time.Duration {
	return max(5*time.Second, min(ttl, 30*time.Second))
}

type times struct{ ttl, negative, stale, away time.Duration }

// entry is what is known of one slug. It is never changed once it is shared.
type entry struct {
	id     tunnel.ID     // empty when the slug is unknown
	reason *fault.Error  // nil = active
	end    time.Time     // of an active tunnel
	seen   time.Time     // the last answer; zero = never one
	life   time.Duration // how long it is fresh, if shorter than usual; 0 = as usual
	doubts uint64        // the resolver's, when the question began

	failed time.Time // the last question, if it got no answer
	cause  error
}

// toEntry turns an answer of the source into an entry, or an error into the
// reason why there is none.
func toEntry(got tunnel.Resolution, err error, asked time.Time) (*entry, error) {
	e := &entry{id: got.Tunnel, end: got.ExpiresAt, seen: asked, life: got.Fresh}
	if err == nil && got.Status != tunnel.StatusActive { // verdict looks at an active tunnel's end each time
		err = got.Status.Err(got.ExpiresAt, asked)
	}
	switch {
	case err == nil && got.Tunnel == "":
		return nil, errors.New("source names no tunnel")
	case err == nil:
	case errors.Is(err, tunnel.ErrUnknown):
		e.id, e.reason = "", errNotFound
	case errors.Is(err, tunnel.ErrExpired):
		e.reason = errExpired
	case errors.Is(err, tunnel.ErrRevoked):
		e.reason = errRevoked
	default:
		return nil, err
	}
	return e, nil
}

// fresh reports whether the answer may be used without asking again.
func (e *entry) fresh(now time.Time, t times) bool {
	if e == nil {
		return false
	}
	ttl := t.ttl
	if e.reason == errNotFound {
		ttl = t.negative
	}
	if e.life > 0 {
		ttl = min(ttl, e.life)
	}
	return !e.seen.IsZero() && now.Sub(e.seen) < ttl
}

// servable reports whether the answer may be used while the source can't tell.
// "Unknown" is not: it is remembered for its few seconds and no longer.
func (e *entry) servable(now time.Time, t times) bool {
	return e != nil && !e.seen.IsZero() && e.reason != errNotFound && now.Sub(e.seen) < t.stale
}

// verdict is the answer as of now: an active tunnel still ends on time.
func (e *entry) verdict(now time.Time) (tunnel.ID, error) {
	if e.reason != nil {
		return "", e.reason
	}
	if !e.end.After(now) {
		return "", errExpired
	}
	return e.id, nil
}

// lastResort is the answer when the source can't tell.
func (e *entry) lastResort(now time.Time, t times) (tunnel.ID, error) {
	if e.servable(now, t) {
		return e.verdict(now)
	}
	return "", fault.Wrap(fault.ControlPlaneUnavailable, "The control plane can't say which tunnel this is.", e.cause)
}

func (e *entry) failedWithin(d time.Duration, now time.Time) bool {
	return e != nil && !e.failed.IsZero() && now.Sub(e.failed) < d
}

// withFailure is e, which may be nil, with a question that got no answer.
func (e *entry) withFailure(cause error, now time.Time) *entry {
	var next entry
	if e != nil {
		next = *e
	}
	next.failed, next.cause = now, cause
	return &next
}
