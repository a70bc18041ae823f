// Package registry is the words of who holds which tunnel: the errors that its
// adapters (memory, redis) share. A registry decides only between claims, by the
// rules of registrytest; whether an agent may claim at all, and whether a holder
// is alive, is decided by who asks. It trusts its callers: they are pods, and
// what agents say was checked before.
package registry

import "errors"

var (
	// ErrHeld is a claim refused: another session holds the tunnel. The claim
	// returned with it is the holder's.
	ErrHeld = errors.New("tunnel is held by another session")

	// ErrLost is a claim that was one's own and is no more: it was taken over,
	// has lapsed, or was released.
	ErrLost = errors.New("claim is lost")

	// ErrIncomplete is a claim without tunnel, pod or session: a mistake of the
	// caller, because nothing could fence it.
	ErrIncomplete = errors.New("claim needs a tunnel, a pod and a session")

	// ErrSlugTaken is a slug that another tunnel's claim has.
	ErrSlugTaken = errors.New("slug is taken by another tunnel")

	// ErrAway is a registry that can't be reached or gives no usable answer in
	// time. What was asked of it may have happened or not.
	ErrAway = errors.New("registry is away")
)
