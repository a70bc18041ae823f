package podstatus

import (
	"errors"
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

func TestParseQuery(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name, input string
		want        Query
		err         string
	}{
		{"nothing", "", Query{Limit: 1000, Sort: "since"}, ""},
		{"everything", "limit=5&tunnel=demo&sort=unread_bytes", Query{5, "demo", "unread_bytes"}, ""},
		{"none", "limit=0", Query{Limit: 0, Sort: "since"}, ""},
		{"the most", "limit=100000", Query{Limit: 100_000, Sort: "since"}, ""},
		{"more than that", "limit=100001", Query{}, "limit is a number from 0 to 100000"},
		{"negative", "limit=-1", Query{}, "limit is a number from 0 to 100000"},
		{"empty", "limit=", Query{}, "limit is a number from 0 to 100000"},
		{"another order", "sort=size", Query{}, "sort is one of [since in_flight requests unread_bytes]"},
		{"twice", "tunnel=a&tunnel=b", Query{}, "tunnel is given more than once"},
		{"an unknown one", "secret=1", Query{}, "known are limit, tunnel and sort"},
		{"an unknown one twice", "secret=1&secret=2", Query{}, "a parameter is given more than once"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			values, err := url.ParseQuery(row.input)
			if err != nil {
				t.Fatal(err)
			}
			got, err := ParseQuery(values)
			if row.err != "" {
				if err == nil || err.Error() != row.err {
					t.Errorf("error %v, want %q", err, row.err)
				}
				return
			}
			if diff := cmp.Diff(row.want, got); diff != "" || err != nil {
				t.Errorf("error %v (-want +got):\n%s", err, diff)
			}
			again, err := ParseQuery(got.Values())
			if diff := cmp.Diff(got, again); diff != "" || err != nil {
				t.Errorf("it does not survive its own words: %v\n%s", err, diff)
			}
		})
	}
}

func TestText(t *testing.T) {
	t.Parallel()
	if got := Text(nil); got != "" {
		t.Errorf("of no error: %q", got)
	}
	if got := Text(errors.New("away")); got != "away" {
		t.Errorf("got %q", got)
	}
	if got := Text(errors.New("x" + strings.Repeat("é", MaxText))); len(got) > MaxText || len(got) < MaxText-1 || !utf8.ValidString(got) {
		t.Errorf("%d bytes, valid %v", len(got), utf8.ValidString(got))
	}
}
