package ingress

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/getbindu/bindu-edge/internal/fault"
)

// body is the caller's request body on its way to the agent. An error while
// reading it is the caller's, and is told apart from the agent's by its code.
type body struct {
	io.ReadCloser
	request *http.Request // whose trailer appears at the end
	clock   *clock
	bytes   atomic.Int64
	done    atomic.Bool // read to its end
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if n > 0 {
		b.bytes.Add(int64(n))
		b.clock.moved()
	}
	switch {
	case err == nil:
	case errors.Is(err, io.EOF):
		// The trailer is complete now, and about to be sent on.
		dropForbiddenTrailers(b.request.Trailer)
		b.done.Store(true)
	default:
		err = fault.Wrap(fault.BadRequest, "The request's body could not be read to its end.", err)
	}
	return n, err
}

// answerBody is the agent's answer on its way to the caller.
type answerBody struct {
	io.ReadCloser
	answer *http.Response // whose trailer appears at the end
	clock  *clock
}

func (b *answerBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if n > 0 {
		b.clock.moved()
	}
	if errors.Is(err, io.EOF) {
		dropForbiddenTrailers(b.answer.Trailer)
	}
	return n, err
}

// isSilentStream reports whether comments may be put between the answer's
// events: nothing may depend on its exact bytes.
func isSilentStream(res *http.Response) bool {
	kind, _, err := mime.ParseMediaType(res.Header.Get("Content-Type"))
	if err != nil || kind != "text/event-stream" || res.ContentLength >= 0 || res.StatusCode != http.StatusOK {
		return false
	}
	for _, name := range []string{"Content-Encoding", "Content-Digest", "Repr-Digest", "Digest", "Content-Md5"} {
		if v := res.Header.Get(name); v != "" && v != "identity" {
			return false
		}
	}
	for _, line := range res.Header["Cache-Control"] {
		for directive := range strings.SplitSeq(line, ",") {
			if strings.EqualFold(strings.TrimSpace(directive), "no-transform") {
				return false
			}
		}
	}
	return true
}

// copyBuffers recycles the buffers that bodies are copied through.
type copyBuffers struct{}

var bufferPool = sync.Pool{New: func() any { return new([32 << 10]byte) }}

func (copyBuffers) Get() []byte  { return bufferPool.Get().(*[32 << 10]byte)[:] }
func (copyBuffers) Put(b []byte) { bufferPool.Put((*[32 << 10]byte)(b)) }
