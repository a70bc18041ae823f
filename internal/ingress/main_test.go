package ingress

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/getbindu/bindu-edge/internal/fault"
	"github.com/getbindu/bindu-edge/internal/tunnel"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// knows is a resolver that knows some slugs.
type knows map[tunnel.Slug]tunnel.ID

func (k knows) Resolve(_ context.Context, s tunnel.Slug) (tunnel.ID, error) {
	if id, ok := k[s]; ok {
		return id, nil
	}
	return "", fault.New(fault.TunnelNotFound, "There is no tunnel of this name.")
}

// agent answers every request of every tunnel.
type agent func(*http.Request) (*http.Response, error)

func (a agent) Route(tunnel.ID) http.RoundTripper                     { return a }
func (agent) Refusal(context.Context, tunnel.ID, *http.Request) error { return nil }
func (a agent) RoundTrip(req *http.Request) (*http.Response, error)   { return a(req) }

func answerOf(header http.Header, body string) *http.Response {
	return &http.Response{
		StatusCode: http.StatusOK, ProtoMajor: 2, Header: header,
		Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)),
	}
}

// serving makes a handler whose tunnel "s" is answered by a.
func serving(a agent, baseDomain string) *Handler {
	return New(Options{
		Resolver: knows{"s": "t"}, Router: a, Own: http.NotFoundHandler(), Logger: slog.New(slog.DiscardHandler),
		BaseDomain: baseDomain, PublicHost: "public.example", Methods: []string{"GET", "HEAD", "POST"},
		Trusted: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")},
	})
}
