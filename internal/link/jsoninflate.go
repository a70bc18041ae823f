package link

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"

	"golang.org/x/sync/semaphore"

	"github.com/getbindu/bindu-edge/internal/wire"
)

// Inflater inflates compressed responses within bounds: of one response, and of
// the memory that all of them hold together until their callers have read them.
// The links of a pod share one. All methods may be called concurrently.
type Inflater struct {
	limit int64
	total int64
	free  *semaphore.Weighted
}

// InflaterMemory is what NewInflater takes for total when that is 0, in bytes.
const InflaterMemory = 128 << 20

// NewInflater makes an Inflater for responses of at most limit bytes (0: 10 MiB)
// that holds about total bytes at once (0: InflaterMemory). A response that has
// to wait for room counts against its request's own time.
func NewInflater(limit, total int64) *Inflater {
	if limit == 0 {
		limit = wire.MaxInflated
	}
	if total == 0 {
		total = InflaterMemory
	}
	return &Inflater{limit: limit, total: total, free: semaphore.NewWeighted(total)}
}

// maxRatio is what DEFLATE can make of one byte at most (RFC 1951: a symbol of
// one bit for a length of 258, and another for its distance).
const maxRatio = 1032

var errInflated = errors.New("inflates to more than a response may have")

// inflate returns what the quoted base64 of gzip holds. It stops at the limit,
// however much more there is. release gives back the memory, which counts as
// held until then; the result may be kept as long.
func (f *Inflater) inflate(ctx context.Context, quoted []byte) (plain []byte, release func(), err error) {
	packed := make([]byte, base64.StdEncoding.DecodedLen(len(quoted)))
	n, err := base64.StdEncoding.Decode(packed, appendUnquoted(quoted[:0], quoted))
	if err != nil {
		return nil, nil, fmt.Errorf("base64: %w", err)
	}
	packed = packed[:n]
	most := min(f.limit, maxRatio*int64(n))
	// The buffer may double while it grows, and a body is decoded from it.
	held := min(2*most+bytes.MinRead, f.total)
	if err := f.free.Acquire(ctx, held); err != nil {
		return nil, nil, context.Cause(ctx)
	}
	release = sync.OnceFunc(func() { f.free.Release(held) })
	plain, err = f.unpack(packed, most)
	if err != nil {
		release()
		return nil, nil, err
	}
	if keep := min(2*int64(len(plain))+bytes.MinRead, held); keep < held {
		f.free.Release(held - keep)
		held = keep
	}
	return plain, release, nil
}

func (f *Inflater) unpack(packed []byte, most int64) ([]byte, error) {
	z := unzippers.Get().(*gzip.Reader)
	defer unzippers.Put(z)
	if err := z.Reset(bytes.NewReader(packed)); err != nil {
		return nil, fmt.Errorf("gzip: %w", err)
	}
	var plain bytes.Buffer
	// The trailer names the size (RFC 1952, section 2.3.1). It may lie, but saves
	// growing in steps when it does not.
	if len(packed) >= 4 {
		hint := int64(binary.LittleEndian.Uint32(packed[len(packed)-4:]))
		plain.Grow(int(min(hint, most)) + bytes.MinRead)
	}
	n, err := plain.ReadFrom(io.LimitReader(z, f.limit+1))
	if n > f.limit {
		return nil, errInflated
	}
	if err != nil {
		return nil, fmt.Errorf("gzip: %w", err)
	}
	return plain.Bytes(), nil
}

var unzippers = sync.Pool{New: func() any { return new(gzip.Reader) }}
