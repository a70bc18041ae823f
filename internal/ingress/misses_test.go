package ingress

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/getbindu/bindu-edge/internal/fault"
	"github.com/getbindu/bindu-edge/internal/tunnel"
)

// tally lets slugs be asked for as told, and counts the misses.
type tally struct {
	refused map[tunnel.Slug]bool
	misses  int
}

func (c *tally) Check(_ *http.Request, slug tunnel.Slug) error {
	if c.refused[slug] {
		return fault.New(fault.RateLimited, "Too often.")
	}
	return nil
}
func (c *tally) Miss(*http.Request) { c.misses++ }

func found(*http.Request) (*http.Response, error) { return answerOf(http.Header{}, ""), nil }

func TestMisses(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name, host, path string
		refused          []tunnel.Slug
		status, misses   int
	}{
		{"known", "public.example", "/local_tunnel/s/", nil, 200, 0},
		{"unknown", "public.example", "/local_tunnel/x/", nil, 404, 1},
		{"not to be asked for", "public.example", "/local_tunnel/x/", []tunnel.Slug{"x"}, 429, 0},
		{"another is not", "public.example", "/local_tunnel/s/", []tunnel.Slug{"x"}, 200, 0},
		{"no slug at all", "public.example", "/local_tunnel/a!b/", nil, 404, 0},
		{"by host", "x.base.example", "/", []tunnel.Slug{"x"}, 429, 0},
		{"by host, known in one spelling", "S.base.example", "/", []tunnel.Slug{"S"}, 200, 0},
		{"by host, not to be asked for in one spelling", "X.base.example", "/", []tunnel.Slug{"x"}, 404, 1},
		{"an endpoint of the pod", "public.example", "/nothing", nil, 404, 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			h := serving(found, "base.example")
			count := &tally{refused: map[tunnel.Slug]bool{}}
			for _, s := range row.refused {
				count.refused[s] = true
			}
			h.opts.Misses = count
			r, w := httptest.NewRequest(http.MethodGet, row.path, nil), httptest.NewRecorder()
			r.Host = row.host
			h.ServeHTTP(w, r)
			if w.Code != row.status || count.misses != row.misses {
				t.Errorf("got %d and %d misses, want %d and %d", w.Code, count.misses, row.status, row.misses)
			}
			if want := row.status == 429; (w.Header().Get("Retry-After") != "") != want {
				t.Errorf("Retry-After: %q", w.Header().Get("Retry-After"))
			}
		})
	}
}

// Full is asked before anything else, and its reason is the answer.
func TestFull(t *testing.T) {
	t.Parallel()
	h := serving(found, "")
	h.opts.Full = func(*http.Request) error { return fault.New(fault.EdgeOverloaded, "No room.") }
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/local_tunnel/s/", nil))
	got := []string{fmt.Sprint(w.Code), w.Header().Get("Bindu-Edge-Error"), w.Header().Get("Connection")}
	if diff := cmp.Diff([]string{"503", "edge_overloaded", "close"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestCountFields(t *testing.T) {
	t.Parallel()
	lines := func(n int) http.Header {
		h := http.Header{"Many": {}}
		for i := range n {
			if i%2 == 0 {
				h.Add("Many", "x")
			} else {
				h.Set(fmt.Sprint("X-", i), "x")
			}
		}
		return h
	}
	for _, row := range []struct {
		name  string
		input int
		want  int
	}{{"none", 0, 200}, {"as many as there may be", maxFields, 200}, {"one more", maxFields + 1, 431}} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			r, w := httptest.NewRequest(http.MethodGet, "/local_tunnel/s/", nil), httptest.NewRecorder()
			r.Header = lines(row.input)
			serving(found, "").ServeHTTP(w, r)
			if w.Code != row.want {
				t.Errorf("%d fields: %d, want %d", row.input, w.Code, row.want)
			}
		})
	}
}

func TestClientAddrAllocations(t *testing.T) {
	trusted := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	r := &http.Request{RemoteAddr: "10.0.0.1:1", Header: http.Header{"X-Forwarded-For": {"2001:db8::1, 10.0.0.2", "10.0.0.3"}}}
	if n := testing.AllocsPerRun(100, func() { ClientAddr(r, trusted) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if got := ClientAddr(r, trusted).String(); got != "2001:db8::1" {
		t.Errorf("got %s", got)
	}
}
