package attach

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/getbindu/bindu-edge/internal/fault"
	"github.com/getbindu/bindu-edge/internal/tunnel"
)

// floods answers as told and notes what it is told.
type floods struct {
	check error
	tried []fault.Code
}

func (f *floods) Check(*http.Request) error { return f.check }
func (f *floods) Tried(_ *http.Request, err error) {
	code := fault.Code("")
	if err != nil {
		code = fault.From(err).Code
	}
	f.tried = append(f.tried, code)
}

func TestFloods(t *testing.T) {
	t.Parallel()
	often := fault.New(fault.RateLimited, "Too often.")
	for _, row := range []struct {
		name, path, token string
		check, plane      error
		code              fault.Code
		want              []fault.Code
		asked             bool
	}{
		{"wrong token", "/ws/t", "x", nil, tunnel.ErrUnauthorized, fault.Unauthorized, []fault.Code{fault.Unauthorized}, true},
		{"unknown", "/ws/t", "x", nil, tunnel.ErrUnknown, fault.TunnelNotFound, []fault.Code{fault.TunnelNotFound}, true},
		{"no token", "/ws/t", "", nil, nil, fault.Unauthorized, []fault.Code{fault.Unauthorized}, false},
		{"no id", "/ws/!", "x", nil, nil, fault.TunnelNotFound, nil, false},
		{"ephemeral", "/ws", "", nil, nil, fault.NotFound, nil, false},
		{"too often", "/ws/t", "x", often, nil, fault.RateLimited, nil, false},
		{"too often, ephemeral", "/ws", "", often, nil, fault.RateLimited, nil, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			f, asked := &floods{check: row.check}, false
			url, _ := serve(t, Options{
				Hub: table{}, Floods: f,
				ControlPlane: plane(func(tunnel.ID, string) (tunnel.Grant, error) {
					asked = true
					return tunnel.Grant{}, row.plane
				}),
			})
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+row.path, nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Sec-WebSocket-Protocol", "bindu.h2")
			req.Header.Set("X-Tunnel-Token", row.token)
			res, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			_ = res.Body.Close()
			if got := res.Header.Get("Bindu-Edge-Error"); got != string(row.code) || asked != row.asked {
				t.Errorf("got %q, the control plane was asked: %v; want %q, %v", got, asked, row.code, row.asked)
			}
			if diff := cmp.Diff(row.want, f.tried); diff != "" {
				t.Errorf("told (-want +got):\n%s", diff)
			}
		})
	}
}

// A tunnel that is let in is told of as such, an ephemeral one is not: it proves
// nothing.
func TestFloodsSuccess(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name string
		a    attempt
		want int
	}{
		{"with credentials", attempt{tunnel: "t"}, 1},
		{"ephemeral", attempt{tunnel: "t", giveUp: func() {}}, 0},
	} {
		f := &floods{}
		h := New(Options{Floods: f})
		h.tried(httptest.NewRequest(http.MethodGet, "/ws", nil), &row.a, nil)
		if len(f.tried) != row.want {
			t.Errorf("%s: told %d times, want %d", row.name, len(f.tried), row.want)
		}
	}
}
