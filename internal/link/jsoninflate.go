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

	"github.com/getbindu/bindu-edge/internal/h2"
	"github.com/getbindu/bindu-edge/internal/wire"
)

// Inflater inflates compressed responses within bounds: of one response, and of
// the memory that all of them hold together until their callers have read them.
// The second is that of the link's budget, or else one of its own. The links of a
// pod share one. All methods may be called concurrently.
type Inflater struct {
	limit int64
	whole *h2.Whole // of links without a budget
}

// InflaterMemory is what NewInflater takes for total when that is 0, in bytes.
const InflaterMemory = 128 << 20

// NewInflater makes an Inflater for responses of at most limit bytes (0: 10 MiB)
// that holds about total bytes at once (0: InflaterMemory) for links without a
// budget.
func NewInflater(limit, total int64) *Inflater {
	if limit == 0 {
		limit = wire.MaxInflated
	}
	if total == 0 {
		total = InflaterMemory
	}
	return &Inflater{limit: limit, whole: h2.NewBudget(total).Whole()}
}

// maxRatio is what DEFLATE can make of one byte at most (RFC 1951: a symbol of
// one bit for a length of 258, and another for its distance).
const maxRatio = 1032

var errInflated = errors.New("inflates to more than a response may have")

// inflate returns what the quoted base64 of gzip in a.data holds. It stops at the
// limit, however much more there is, and waits for room first: a *fault.Error says
// that there was none. a.kept counts the result from then on.
func (f *Inflater) inflate(ctx context.Context, a *answer) ([]byte, error) {
	packed := make([]byte, base64.StdEncoding.DecodedLen(len(a.data)))
	n, err := base64.StdEncoding.Decode(packed, appendUnquoted(a.data[:0], a.data))
	if err != nil {
		return nil, fmt.Errorf("base64: %w", err)
	}
	packed = packed[:n]
	a.data = nil
	if a.kept == nil {
		a.kept = f.whole.Keep(0)
	}
	most := min(f.limit, maxRatio*int64(n))
	size := most
	// The trailer names the size (RFC 1952, section 2.3.1), so that an answer waits
	// for no more room than it needs. It may lie.
	if n >= 4 {
		size = min(most, int64(binary.LittleEndian.Uint32(packed[n-4:])))
	}
	// A body is decoded from what was inflated.
	if err := a.kept.Grow(ctx, 2*size+bytes.MinRead); err != nil {
		return nil, err
	}
	plain, err := unpack(packed, size)
	if errors.Is(err, errInflated) && size < most {
		a.kept.Shrink(0)
		if err := a.kept.Grow(ctx, 2*most+bytes.MinRead); err != nil {
			return nil, err
		}
		plain, err = unpack(packed, most)
	}
	return plain, err
}

func unpack(packed []byte, most int64) ([]byte, error) {
	z := unzippers.Get().(*gzip.Reader)
	defer unzippers.Put(z)
	if err := z.Reset(bytes.NewReader(packed)); err != nil {
		return nil, fmt.Errorf("gzip: %w", err)
	}
	var plain bytes.Buffer
	plain.Grow(int(most) + 1 + bytes.MinRead) // to see the end without growing
	n, err := plain.ReadFrom(io.LimitReader(z, most+1))
	if n > most {
		return nil, errInflated
	}
	if err != nil {
		return nil, fmt.Errorf("gzip: %w", err)
	}
	return plain.Bytes(), nil
}

var unzippers = sync.Pool{New: func() any { return new(gzip.Reader) }}
