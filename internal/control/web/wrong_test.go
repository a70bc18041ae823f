package web_test

import (
	"html"
	"net/http"
	"regexp"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/getbindu/bindu-edge/internal/control"
)

// complaints are the errors that a page shows, by their fields.
func (a answer) complaints() map[string]string {
	all := make(map[string]string)
	for _, found := range regexp.MustCompile(`data-error="([^"]*)">([^<]*)<`).FindAllStringSubmatch(a.body, -1) {
		all[found[1]] = html.UnescapeString(found[2])
	}
	return all
}

// Whatever is wrong in a form is told at once, each at its field: what can't be
// read, what can't be, and what is taken.
func TestAllThatIsWrong(t *testing.T) {
	t.Parallel()
	p := newPlant(t)
	p.makeTunnel(control.Create{Slug: "taken"})
	kept := p.makeTunnel(control.Create{Slug: "kept"})
	path := "/tunnels/" + string(kept.ID)
	b := p.signedIn(control.RoleOperator)
	before := p.lastAudit()
	const network = "must be a network such as 192.0.2.0/24 or 2001:db8::/32, without host bits."
	for _, row := range []struct {
		name, path string
		input      []string
		want       map[string]string
	}{
		{"a new tunnel", "/new", []string{
			"slug", "taken", "name", "a\u202eb", "lifetime", "long", "target", "", "limits.rps", "many", "limits.caller_rps", "-1",
			"limits.body_bytes", "half", "limits.methods", "GET GE%T connect GET get", "auth.type", "basic", "user", "a:b", "auth.credentials", "short",
			"cidrs.allow", "192.0.2.0/24\nnonsense\n192.0.2.1/24", "cidrs.deny", "all",
		}, map[string]string{
			"slug":        "It is taken, or held back because it was another tunnel's.",
			"name":        "Must have no control characters.",
			"lifetime":    "Must be one of these.",
			"target":      "Must be a port, host:port or a URL.",
			"limits.rps":  "Must be a number such as 10 or 0.5, or empty.",
			"user":        "Must have no colon.",
			"cidrs.allow": "Entries 2 and 3: each " + network,
			"cidrs.deny":  "Entry 1 " + network,

			"limits.caller_rps": "Must be 0 to 1000000 requests a second.",
			"limits.body_bytes": "Must be a number of bytes, KiB, MiB or GiB, or empty.",
			"limits.methods": "Entry 2 must be a method such as GET, in capitals, of at most 32. " +
				"Entry 3 can't be CONNECT: an edge is no proxy for other hosts. Entries 4 and 5: each is there twice.",
			"auth.credentials": "A password or token must have 8 to 256 bytes.",
		}},
		{"a tunnel's name and end", path + "/details", []string{"name", "a\u202eb", "slug", "taken", "expires_at", "soon"}, map[string]string{
			"slug":       "It is taken, or held back because it was another tunnel's.",
			"name":       "Must have no control characters.",
			"expires_at": "Must be a day and a time, such as 2027-01-31 12:00.",
		}},
		{"a tunnel's limits", path + "/limits", []string{"limits.rps", "many", "limits.inflight", "-1"}, map[string]string{
			"limits.rps":      "Must be a number such as 10 or 0.5, or empty.",
			"limits.inflight": "Must be 0 to 1000000 requests.",
		}},
		{"who may call", path + "/access", []string{"auth.type", "basic", "auth.credentials", "long enough", "cidrs.deny", "all"}, map[string]string{
			"user":       "A password needs a user.",
			"cidrs.deny": "Entry 1 " + network,
		}},
	} {
		a := b.post(row.path, row.input...).want(t, http.StatusUnprocessableEntity)
		if diff := cmp.Diff(row.want, a.complaints()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", row.name, diff)
		}
	}
	admin := p.signedIn(control.RoleAdmin)
	before++ // the admin's key
	a := admin.post("/keys", "name", " ", "role", "god").want(t, http.StatusUnprocessableEntity)
	if diff := cmp.Diff(map[string]string{"name": "Must be given.", "role": "Must be admin, operator, viewer or edge."}, a.complaints()); diff != "" {
		t.Errorf("a new key (-want +got):\n%s", diff)
	}
	if got := p.lastAudit(); got != before {
		t.Errorf("something was done: %d entries, %d before", got, before)
	}
}
