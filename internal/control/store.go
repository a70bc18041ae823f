package control

import (
	"context"
	"errors"
	"time"

	"github.com/getbindu/bindu-edge/internal/tunnel"
)

// What a Store says besides tunnel.ErrUnknown.
var (
	// ErrTaken is an id or slug that is in use, or held back.
	ErrTaken = errors.New("tunnel id or slug is taken")
	// ErrFull is a store without room; nothing was written.
	ErrFull = errors.New("the store is full")
	// ErrAway is a store that did not answer in time or can't be reached. What
	// was asked of it may have happened.
	ErrAway = errors.New("the store is away")
	// ErrMissing is a key, link, pod or record that is not there.
	ErrMissing = errors.New("not in the store")
)

// Reader finds tunnels, deleted ones too. A missing one MUST be an error that
// wraps tunnel.ErrUnknown; any other error means that the store can't tell.
type Reader interface {
	ByID(ctx context.Context, id tunnel.ID) (Tunnel, error)
	BySlug(ctx context.Context, slug tunnel.Slug) (Tunnel, error)
}

// PodLister tells which pods have reported, the last one first.
type PodLister interface {
	Pods(ctx context.Context) ([]Pod, error)
}

// Lister shows tunnels with their links, without the deleted ones.
type Lister interface {
	// Shown is one tunnel; tunnel.ErrUnknown for a missing or deleted one.
	Shown(ctx context.Context, id tunnel.ID, at time.Time) (Listed, error)
	// Tunnels gives a page, newest first, and where the next begins (nil = the
	// end). It MUST look at a bounded number of tunnels and MAY give fewer than
	// the limit, or none, with more to come.
	Tunnels(ctx context.Context, s Selection) ([]Listed, *Position, error)
	// Exact gives at most MaxExact tunnels that fit s and whose id or slug is
	// s.Exactly, or that in lower case, or that are among the newest MaxExact
	// with this name: in this order, then newest first. However many tunnels there
	// are, it MUST look at a few. After and Limit mean nothing to it.
	Exact(ctx context.Context, s Selection) ([]Listed, error)
}

// Journal tells what happened.
type Journal interface {
	// Audit gives entries before the one with id before (0 = the newest), newest first.
	Audit(ctx context.Context, target string, before int64, limit int) ([]Entry, error)
	// Events gives those after the one with id after, oldest first.
	Events(ctx context.Context, after int64, limit int) ([]Event, error)
	// EventRange gives the oldest id kept and the newest ever given. Without an
	// event kept, the oldest is newest+1.
	EventRange(ctx context.Context) (oldest, newest int64, err error)
}

// Past tells what pods have reported of a tunnel. Of one that is not there, that
// is nothing.
type Past interface {
	// Counts gives the minutes from one to another that were counted, both
	// included, oldest first, the pods' counts added up.
	Counts(ctx context.Context, id tunnel.ID, from, to time.Time) ([]Minute, error)
	// Moments gives the newest so many, newest first.
	Moments(ctx context.Context, id tunnel.ID, limit int) ([]Moment, error)
}

// KeyReader finds API keys; ErrMissing when there is none.
type KeyReader interface {
	KeyByDigest(ctx context.Context, d Digest) (Key, error)
	Keys(ctx context.Context) ([]Key, error) // by creation
}

// Store keeps everything. Safe for concurrent use, from several processes too.
// Times come back in UTC to the microsecond. Every call MUST end by itself
// within seconds, with an error that wraps ErrAway if the store does not
// answer, and work again when it does.
type Store interface {
	Reader
	Lister
	Journal
	Past
	KeyReader
	PodLister

	// Update runs f in one transaction: everything that it did is kept and
	// survives a crash when Update returns nil, and nothing is when it does not.
	// f gets the context that bounds the transaction, and must use that one.
	// Transactions MUST be serial, also across processes. f must not keep tx,
	// and must use nothing of the store but tx.
	Update(ctx context.Context, f func(ctx context.Context, tx Tx) error) error
	Ping(ctx context.Context) error
}

// Tx is what can be done within Update.
type Tx interface {
	Reader
	KeyReader
	PodLister
	TunnelTable
	SlugTable
	JournalTable
	LinkTable
	MomentTable
	CountTable
	RecordTable

	PutKey(ctx context.Context, k Key) error // inserts, or replaces the one with its ID
	// Prune removes what is past its time.
	Prune(ctx context.Context, h Horizon) error
}

// TunnelTable changes tunnels. Insert MUST refuse an id or slug in use with
// ErrTaken, Replace a slug in use; Replace and Remove of a missing tunnel MUST
// be tunnel.ErrUnknown.
type TunnelTable interface {
	Insert(ctx context.Context, t Tunnel) error
	Replace(ctx context.Context, t Tunnel) error
	Remove(ctx context.Context, id tunnel.ID) error // with all that pods reported of it
}

// SlugTable keeps slugs that a living tunnel gave up; ErrMissing for others.
type SlugTable interface {
	HeldSlug(ctx context.Context, slug tunnel.Slug) (HeldSlug, error)
	HoldSlug(ctx context.Context, h HeldSlug) error // inserts or replaces
}

// HeldSlug is a slug that only its former tunnel may have again, for a while.
type HeldSlug struct {
	Slug   tunnel.Slug
	Tunnel tunnel.ID
	Until  time.Time
}

// JournalTable writes down what happened. Ids count up in the order in which
// the transactions commit, without gaps: a reader that has seen one has had
// the chance to see all before it.
type JournalTable interface {
	AppendAudit(ctx context.Context, e Entry) error // e.ID is ignored
	AppendEvent(ctx context.Context, e Event) error // e.ID is ignored
}

// LinkTable keeps the last that was heard of each tunnel's link.
type LinkTable interface {
	Link(ctx context.Context, id tunnel.ID) (Link, error)              // ErrMissing
	LinksOn(ctx context.Context, pod tunnel.PodID) ([]Link, error)     // the connected ones
	PutLink(ctx context.Context, l Link) error                         // ignores one of a tunnel that is not kept
	HearPod(ctx context.Context, pod tunnel.PodID, at time.Time) error // later wins
	PodHeard(ctx context.Context, pod tunnel.PodID) (time.Time, error) // ErrMissing
}

// MomentTable keeps what happened to links. Of a tunnel it keeps the newest
// MaxMoments.
type MomentTable interface {
	// AppendMoments ignores moments of tunnels that are not kept, and of a link,
	// if its session has a name, the second of a kind.
	AppendMoments(ctx context.Context, moments []LinkMoment) error
}

// CountTable keeps counts of requests by pod, tunnel and minute.
type CountTable interface {
	// PutCounts replaces counts that have fewer requests. It ignores those of
	// tunnels that are not kept, and of a tunnel's minute all pods but the first
	// MaxCountPods. No two of counts may be of the same tunnel and minute.
	PutCounts(ctx context.Context, pod tunnel.PodID, counts []Count) error
	// DropCounts removes as many as limit of minutes before one, and gives how
	// many there were.
	DropCounts(ctx context.Context, before time.Time, limit int) (int64, error)
}

// RecordTable keeps answers for their Idempotency-Keys.
type RecordTable interface {
	Record(ctx context.Context, id Digest) (Record, error) // ErrMissing
	PutRecord(ctx context.Context, r Record) error         // inserts or replaces
}

// Record is one answer that was given. Its ID and Request are hashes, and
// Sealed needs the secret of the API key that got it.
type Record struct {
	ID      Digest
	Request Digest
	Sealed  []byte
	At      time.Time
}

// Horizon says what is past its time: everything before its moment.
type Horizon struct {
	Now        time.Time // for what knows its own end
	Tunnels    time.Time // deleted ones, and revoked keys
	Audit      time.Time
	Events     time.Time
	KeepEvents int64 // the newest so many at most
	Records    time.Time
	Pods       time.Time
	Moments    time.Time
}
