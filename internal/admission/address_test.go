package admission_test

import (
	"net/http"
	"net/netip"
	"testing"

	"github.com/getbindu/bindu-edge/internal/admission"
	"github.com/getbindu/bindu-edge/internal/fault"
	"github.com/getbindu/bindu-edge/internal/tunnel"
)

// from is a request of a caller; "" = nobody knows whose.
func from(t *testing.T, addr string) *http.Request {
	t.Helper()
	req := request(-1, false)
	if addr == "" {
		return req
	}
	return req.WithContext(tunnel.WithCaller(t.Context(), netip.MustParseAddr(addr)))
}

func prefixes(texts ...string) (list []netip.Prefix) {
	for _, text := range texts {
		list = append(list, netip.MustParsePrefix(text))
	}
	return list
}

func TestAddresses(t *testing.T) {
	t.Parallel()
	type rules struct{ allow, deny []netip.Prefix }
	for _, row := range []struct {
		name    string
		pod     rules
		tunnel  rules
		in, out []string
	}{
		{"none", rules{}, rules{}, []string{"", "192.0.2.1", "2001:db8::1"}, nil},
		{
			"allow", rules{}, rules{allow: prefixes("192.0.2.0/24", "2001:db8::/32")},
			[]string{"192.0.2.0", "192.0.2.255", "::ffff:192.0.2.7", "2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"},
			[]string{"", "192.0.1.255", "192.0.3.0", "2001:db7:ffff::", "2001:db9::", "::1", "::c000:201"},
		},
		{
			"deny", rules{}, rules{deny: prefixes("192.0.2.7/32")},
			[]string{"192.0.2.6", "192.0.2.8", "2001:db8::1"},
			[]string{"", "192.0.2.7", "::ffff:192.0.2.7"},
		},
		{
			"deny wins", rules{}, rules{allow: prefixes("10.0.0.0/8"), deny: prefixes("10.1.0.0/16")},
			[]string{"10.0.255.255", "10.2.0.0"}, []string{"10.1.0.0", "10.1.255.255", "11.0.0.0"},
		},
		{
			"everybody of one family", rules{}, rules{allow: prefixes("::/0")},
			[]string{"::1", "2001:db8::1"}, []string{"127.0.0.1", "::ffff:127.0.0.1"},
		},
		{
			"one within another", rules{}, rules{allow: prefixes("10.1.2.0/24", "10.0.0.0/8", "10.0.0.0/16", "12.0.0.0/8")},
			[]string{"10.0.0.0", "10.1.3.0", "10.255.255.255", "12.0.0.1"}, []string{"9.255.255.255", "11.0.0.0"},
		},
		{
			"the pod's", rules{allow: prefixes("10.0.0.0/8"), deny: prefixes("10.1.0.0/16")}, rules{},
			[]string{"10.0.0.1"}, []string{"", "10.1.0.1", "11.0.0.1"},
		},
		{
			"a tunnel's allow takes the place of the pod's", rules{allow: prefixes("10.0.0.0/8")}, rules{allow: prefixes("11.0.0.0/8")},
			[]string{"11.0.0.1"}, []string{"10.0.0.1"},
		},
		{
			"a tunnel's deny is added to the pod's", rules{deny: prefixes("10.0.0.0/8")}, rules{allow: prefixes("10.0.0.0/7"), deny: prefixes("11.1.0.0/16")},
			[]string{"11.0.0.1"}, []string{"10.0.0.1", "11.1.0.1"},
		},
		{"what is no network lets nobody in", rules{}, rules{allow: []netip.Prefix{{}}}, nil, []string{"10.0.0.1"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			g := admission.New(admission.Options{CIDRs: tunnel.CIDRs{Allow: row.pod.allow, Deny: row.pod.deny}}).
				Gate(tunnel.Grant{CIDRs: tunnel.CIDRs{Allow: row.tunnel.allow, Deny: row.tunnel.deny}})
			for _, addr := range row.in {
				if _, err := g.Enter(from(t, addr)); err != nil {
					t.Errorf("%q: %v", addr, err)
				}
			}
			for _, addr := range row.out {
				if _, err := g.Enter(from(t, addr)); code(err) != fault.Forbidden {
					t.Errorf("%q: %v, want forbidden", addr, err)
				}
			}
			if g.InFlight() != len(row.in) {
				t.Errorf("%d in flight", g.InFlight())
			}
		})
	}
}

// The rules of a tunnel change while it is linked.
func TestUpdateOfTheAddresses(t *testing.T) {
	t.Parallel()
	g := gate(admission.Limits{})
	for _, row := range []struct {
		rules tunnel.CIDRs
		want  fault.Code
	}{
		{tunnel.CIDRs{Deny: prefixes("192.0.2.0/24")}, fault.Forbidden},
		{tunnel.CIDRs{}, ""},
		{tunnel.CIDRs{Allow: prefixes("198.51.100.0/24")}, fault.Forbidden},
	} {
		g.Update(tunnel.Grant{CIDRs: row.rules})
		if _, err := g.Enter(from(t, "192.0.2.1")); code(err) != row.want {
			t.Errorf("%v: %v, want %q", row.rules, err, row.want)
		}
	}
}

func TestMethods(t *testing.T) {
	t.Parallel()
	g := gate(admission.Limits{})
	g.Update(grant(tunnel.Limits{Methods: []string{"GET", "HEAD"}}))
	for method, want := range map[string]fault.Code{"GET": "", "HEAD": "", "POST": fault.MethodNotAllowed, "get": fault.MethodNotAllowed} {
		req := request(-1, false)
		req.Method = method
		_, err := g.Enter(req)
		if code(err) != want {
			t.Errorf("%s: %v, want %q", method, err, want)
		}
		if err != nil && fault.From(err).Header.Get("Allow") != "GET, HEAD" {
			t.Errorf("%s: %v", method, fault.From(err).Header)
		}
	}
}
