package admission

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/getbindu/bindu-edge/internal/fault"
	"github.com/getbindu/bindu-edge/internal/wire"
)

// limitedBody fails with err when there is more than is left. A body of exactly
// the limit passes.
type limitedBody struct {
	io.ReadCloser
	err     error
	left    int64
	refused func() // called once, when there is more
}

func (b *limitedBody) Read(p []byte) (int, error) {
	if b.left < 0 {
		return 0, b.err
	}
	if int64(len(p)) > b.left+1 {
		p = p[:b.left+1]
	}
	n, err := b.ReadCloser.Read(p)
	if b.left -= int64(n); b.left < 0 {
		b.refused()
		// What is allowed goes on before the error does.
		if n--; n > 0 {
			return n, nil
		}
		return 0, b.err
	}
	return n, err
}

// errResponse ends an answer that has begun, so it has no code.
var errResponse = errors.New("the answer is larger than this tunnel may send")

// Answer makes the answer to a request that was let in fit: it tells the rates,
// and refuses an answer that says it is too large. The body of any other fails
// after as many bytes as it may have; that number goes with the answer, for the
// log of whoever passes it on. The answer of an upgrade has no end, and no limit;
// an event stream has only a limit of the tunnel's own.
func (g *Gate) Answer(req *http.Request, res *http.Response) error {
	in := g.rules.Load()
	if in.policy != nil {
		g.tell(req.Context(), in, res.Header)
	}
	delete(res.Header, wire.HeaderResponseLimit) // an agent can't set these
	delete(res.Header, wire.HeaderAgentTime)
	if in.Response <= 0 || res.StatusCode == http.StatusSwitchingProtocols || req.Method == http.MethodHead || res.Body == http.NoBody {
		return nil
	}
	if res.ContentLength > in.Response {
		g.guard.refused.response()
		return fault.New(fault.BadAgentResponse, fmt.Sprintf("The answer has %d bytes; this tunnel may send %d.", res.ContentLength, in.Response))
	}
	if res.ContentLength >= 0 || !in.explicit && isEventStream(res.Header) {
		return nil
	}
	res.Header[wire.HeaderResponseLimit] = in.responseField
	res.Body = &limitedBody{ReadCloser: res.Body, err: errResponse, left: in.Response, refused: g.guard.refused.response}
	return nil
}

func isEventStream(h http.Header) bool {
	kind, _, _ := strings.Cut(h.Get("Content-Type"), ";")
	return strings.EqualFold(strings.TrimSpace(kind), "text/event-stream")
}
