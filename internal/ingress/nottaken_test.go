package ingress

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/getbindu/bindu-edge/internal/fault"
)

// An upload that is ended since its memory was needed is answered as one that the
// agent did not take, whether the agent has begun with it or not.
func TestUploadThatWasEnded(t *testing.T) {
	t.Parallel()
	why := fault.New(fault.FirstByteTimeout, "The memory was needed.")
	for _, row := range []struct {
		name   string
		before bool // it is ended before the way to the agent is known
	}{{"before the agent", true}, {"at the agent", false}} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			var cut func(error)
			h := serving(func(r *http.Request) (*http.Response, error) {
				if row.before {
					_, err := io.ReadAll(r.Body)
					return nil, err
				}
				cut(why)
				<-r.Context().Done()
				return nil, context.Cause(r.Context())
			}, "")
			var ended *closer
			h.opts.Upload = func(r *http.Request, end func(error)) io.ReadCloser {
				cut = end
				ended = &closer{Reader: r.Body}
				if row.before {
					end(why)
					ended.Reader = failing{why}
				}
				return ended
			}
			r := httptest.NewRequest(http.MethodPost, "/local_tunnel/s/", strings.NewReader("body"))
			r.Proto, r.ProtoMajor, r.ProtoMinor = "HTTP/2.0", 2, 0
			rec := httptest.NewRecorder()
			h.ServeHTTP(rec, r)
			if rec.Code != http.StatusGatewayTimeout || rec.Header().Get("Bindu-Edge-Error") != "first_byte_timeout" {
				t.Errorf("got %d %v", rec.Code, rec.Header())
			}
			if !ended.closed {
				t.Error("the body still counts")
			}
		})
	}
}

type closer struct {
	io.Reader
	closed bool
}

func (c *closer) Close() error {
	c.closed = true
	return nil
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }
