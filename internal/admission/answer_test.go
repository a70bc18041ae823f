package admission_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/getbindu/bindu-edge/internal/admission"
	"github.com/getbindu/bindu-edge/internal/fault"
	"github.com/getbindu/bindu-edge/internal/tunnel"
	"github.com/getbindu/bindu-edge/internal/wire"
)

func TestResponse(t *testing.T) {
	t.Parallel()
	const limit = 100
	events := http.Header{"Content-Type": {"Text/Event-Stream; charset=utf-8"}}
	for _, row := range []struct {
		name      string
		length    int
		announced bool
		method    string
		status    int
		header    http.Header
		own       *int64 // the tunnel's limit
		refused   bool
		cut       bool
	}{
		{name: "empty", announced: true},
		{name: "below", length: limit - 1, announced: true},
		{name: "at", length: limit, announced: true},
		{name: "above", length: limit + 1, announced: true, refused: true},
		{name: "stream, empty"},
		{name: "stream, below", length: limit - 1},
		{name: "stream, at", length: limit},
		{name: "stream, above", length: limit + 1, cut: true},
		{name: "stream, far above", length: 50 * limit, cut: true},
		{name: "error page above", length: limit + 1, announced: true, status: 404, refused: true},
		{name: "HEAD", length: limit + 1, announced: true, method: "HEAD"},
		{name: "upgrade", length: limit + 1, status: 101},
		{name: "events", length: limit + 1, header: events},
		{name: "events, announced", length: limit + 1, announced: true, header: events, refused: true},
		{name: "events, the tunnel's own limit", length: limit + 1, header: events, own: new(int64(limit)), cut: true},
		{name: "the tunnel's own limit is none", length: 50 * limit, own: new(int64(0))},
		{name: "the tunnel's own limit", length: limit, announced: true, own: new(int64(limit - 1)), refused: true},
	} {
		for _, small := range []bool{false, true} {
			t.Run(row.name, func(t *testing.T) {
				t.Parallel()
				g := admission.New(admission.Options{Limits: admission.Limits{Response: limit}}).Gate(grant(tunnel.Limits{Response: row.own}))
				res := &http.Response{StatusCode: max(row.status, 101), Header: http.Header{wire.HeaderResponseLimit: {"7"}, wire.HeaderAgentTime: {"7"}}, ContentLength: -1}
				if row.status == 0 {
					res.StatusCode = 200
				}
				for name, values := range row.header {
					res.Header[name] = values
				}
				var body io.Reader = strings.NewReader(strings.Repeat("x", row.length))
				if small {
					body = iotest.OneByteReader(body)
				}
				res.Body = io.NopCloser(body)
				if row.announced {
					res.ContentLength = int64(row.length)
				}
				err := g.Answer(&http.Request{Method: row.method}, res)
				if row.refused {
					if code(err) != fault.BadAgentResponse {
						t.Errorf("got %v, want a refusal", err)
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				got, err := io.ReadAll(res.Body)
				want := row.length
				if row.cut {
					want = limit
				}
				if len(got) != want || (err != nil) != row.cut {
					t.Errorf("%d bytes, %v; want %d", len(got), err, want)
				}
				if told := res.Header.Get(wire.HeaderResponseLimit); row.cut && told != "100" || told == "7" {
					t.Errorf("the door is told %q", told)
				}
				if told := res.Header.Get(wire.HeaderAgentTime); told != "" {
					t.Errorf("the agent told the door %q", told)
				}
				if _, coded := errors.AsType[*fault.Error](err); coded {
					t.Errorf("an answer that has begun has a code: %v", err)
				}
			})
		}
	}
}
