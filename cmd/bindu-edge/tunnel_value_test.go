package main

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestSpan(t *testing.T) {
	t.Parallel()
	day := 24 * time.Hour
	wrong := func(text string) string {
		return `"` + text + `" is no duration: use a number with a unit, such as 90s, 15m, 12h or 30d`
	}
	tests := []struct {
		name, input string
		want        time.Duration
		err         string
	}{
		{"seconds", "90s", 90 * time.Second, ""},
		{"hours", "720h", 30 * day, ""},
		{"days", "30d", 30 * day, ""},
		{"sum", "1d12h30m", day + 12*time.Hour + 30*time.Minute, ""},
		{"nothing", "0s", 0, ""},
		{"no unit", "30", 0, wrong("30")},
		{"empty", "", 0, wrong("")},
		{"negative", "-1h", 0, wrong("-1h")},
		{"negative days", "-1d", 0, wrong("-1d")},
		{"negative rest", "1d-1h", 0, wrong("1d-1h")},
		{"days twice", "1d1d", 0, wrong("1d1d")},
		{"fraction of days", "1.5d", 0, wrong("1.5d")},
		{"too long", "40000d", 0, `"40000d" is too long: use at most 36500d`},
		{"overflows", "65535d2562047h", 0, `"65535d2562047h" is too long: use at most 36500d`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var s span
			err := s.UnmarshalText([]byte(tt.input))
			if errorText(err) != tt.err || s.Duration != tt.want && tt.err == "" || !s.given {
				t.Errorf("got %s, %v", s.Duration, err)
			}
		})
	}
}

func TestMoment(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, input, want string }{
		{"time", "2027-01-31T12:00:00Z", "2027-01-31T12:00:00Z"},
		{"zone", "2027-01-31T12:00:00+02:00", "2027-01-31T10:00:00Z"},
		{"day", "2027-01-31", "2027-01-31T00:00:00Z"},
		{"no such day", "2027-02-31", ""},
		{"words", "tomorrow", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var m moment
			if err := m.UnmarshalText([]byte(tt.input)); (err != nil) != (tt.want == "") {
				t.Fatal(err)
			}
			if tt.want != "" && m.UTC().Format(time.RFC3339) != tt.want {
				t.Errorf("got %s", m)
			}
		})
	}
}

// Limits become members of a merge patch: a number, or null.
func TestLimits(t *testing.T) {
	t.Parallel()
	type unmarshaler interface {
		UnmarshalText([]byte) error
		put(map[string]any, string)
	}
	tests := []struct {
		name  string
		kind  unmarshaler
		input string
		want  string // empty = refused
	}{
		{"rate", &rateLimit{}, "2.5", `{"x":2.5}`},
		{"largest rate", &rateLimit{}, "1000000", `{"x":1000000}`},
		{"no rate", &rateLimit{}, "none", `{"x":0}`},
		{"the edge's", &rateLimit{}, "Default", `{"x":null}`},
		{"negative", &rateLimit{}, "-1", ""},
		{"not a number", &rateLimit{}, "NaN", ""},
		{"infinite", &rateLimit{}, "Inf", ""},
		{"too many", &rateLimit{}, "1000001", ""},
		{"count", &countLimit{}, "20", `{"x":20}`},
		{"fraction", &countLimit{}, "1.5", ""},
		{"too high", &countLimit{}, "1000001", ""},
		{"bytes", &sizeLimit{}, "65536", `{"x":65536}`},
		{"with unit", &sizeLimit{}, "64KiB", `{"x":65536}`},
		{"decimal", &sizeLimit{}, "10 MB", `{"x":10000000}`},
		{"short", &sizeLimit{}, "1.5k", `{"x":1500}`},
		{"gigabyte", &sizeLimit{}, "1g", `{"x":1000000000}`},
		{"largest", &sizeLimit{}, "4503599627370496", `{"x":4503599627370496}`},
		{"too large", &sizeLimit{}, "5000tb", ""},
		{"half a byte", &sizeLimit{}, "0.5", ""},
		{"unit alone", &sizeLimit{}, "MB", ""},
		{"exponent", &sizeLimit{}, "1e3", ""},
		{"negative size", &sizeLimit{}, "-1", ""},
		{"methods", &methodList{}, " get, M-Search,,", `{"x":["GET","M-SEARCH"]}`},
		{"the edge's methods", &methodList{}, "DEFAULT", `{"x":null}`},
		{"no methods", &methodList{}, "", ""},
		{"empty methods", &methodList{}, " ,", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			err := tt.kind.UnmarshalText([]byte(tt.input))
			if (err != nil) != (tt.want == "") {
				t.Fatal(err)
			}
			patch := map[string]any{}
			tt.kind.put(patch, "x")
			got, _ := json.Marshal(patch)
			if tt.want != "" && string(got) != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

func TestAgo(t *testing.T) {
	t.Parallel()
	now := time.Date(2027, 1, 31, 12, 0, 0, 0, time.UTC)
	tests := []struct {
		name  string
		input time.Duration
		want  string
	}{
		{"now", 0, "in 0s"}, {"just", -time.Millisecond, "0s ago"}, {"seconds", -59 * time.Second, "59s ago"},
		{"nearly a minute", -59900 * time.Millisecond, "1m ago"}, {"minutes", 5*time.Minute + 20*time.Second, "in 5m"},
		{"hours", -47 * time.Hour, "47h ago"}, {"nearly 30 days", 30*24*time.Hour - time.Second, "in 30d"}, {"days", 48 * time.Hour, "in 2d"},
	}
	for _, tt := range tests {
		if got := ago(now.Add(tt.input), now); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
	}
	if got := ago(time.Time{}, now); got != "-" {
		t.Errorf("never: %q", got)
	}
}

func TestQuote(t *testing.T) {
	t.Parallel()
	got := []string{quote("3000"), quote("https://edge.example.com:8443/a"), quote(""), quote("a b"), quote("it's"), quote("$(x)")}
	want := []string{"3000", "https://edge.example.com:8443/a", "''", "'a b'", `'it'\''s'`, "'$(x)'"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
