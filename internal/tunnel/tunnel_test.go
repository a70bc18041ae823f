package tunnel_test

import (
	"errors"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/getbindu/bindu-edge/internal/tunnel"
)

var (
	aSlug = regexp.MustCompile(`\A[A-Za-z0-9_-]{1,63}\z`)
	anID  = regexp.MustCompile(`\A[A-Za-z0-9._-]{1,128}\z`)
)

func TestParse(t *testing.T) {
	for _, row := range []struct {
		name, input string
		slug, id    bool
	}{
		{"letter", "a", true, true},
		{"every kind", "AZaz09_-", true, true},
		{"dot", "a.b", false, true},
		{"dots alone", "..", false, true},
		{"63", strings.Repeat("a", 63), true, true},
		{"64", strings.Repeat("a", 64), false, true},
		{"128", strings.Repeat("a", 128), false, true},
		{"129", strings.Repeat("a", 129), false, false},
		{"empty", "", false, false},
		{"space", "a b", false, false},
		{"slash", "a/b", false, false},
		{"escape", "a%20", false, false},
		{"newline at the end", "a\n", false, false},
		{"not ASCII", "\u00e9", false, false},
		{"NUL", "a\x00", false, false},
		{"between the ranges", "@[`{/:", false, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			slug, err := tunnel.ParseSlug(row.input)
			check(t, string(slug), err, row.input, row.slug)
			id, err := tunnel.ParseID(row.input)
			check(t, string(id), err, row.input, row.id)
		})
	}
}

func check(t *testing.T, got string, err error, input string, ok bool) {
	t.Helper()
	switch {
	case ok && (err != nil || got != input):
		t.Errorf("%q gives %q, %v", input, got, err)
	case !ok && (!errors.Is(err, tunnel.ErrUnknown) || got != ""):
		t.Errorf("%q gives %q, %v; want ErrUnknown", input, got, err)
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"", "a", "a.b", "AZaz09_-.", strings.Repeat("a", 63), strings.Repeat("a", 64), strings.Repeat("a", 129), "a\n", "\xff", "a/b"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		slug, err := tunnel.ParseSlug(s)
		check(t, string(slug), err, s, aSlug.MatchString(s))
		id, err := tunnel.ParseID(s)
		check(t, string(id), err, s, anID.MatchString(s))
	})
}

func TestStatusErr(t *testing.T) {
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, row := range []struct {
		name   string
		status tunnel.Status
		ends   time.Time
		want   error // nil with another status: any error that is neither
	}{
		{"active", tunnel.StatusActive, now.Add(1), nil},
		{"ends now", tunnel.StatusActive, now, tunnel.ErrExpired},
		{"has ended", tunnel.StatusActive, now.Add(-1), tunnel.ErrExpired},
		{"no end", tunnel.StatusActive, time.Time{}, tunnel.ErrExpired},
		{"expired", tunnel.StatusExpired, now.Add(time.Hour), tunnel.ErrExpired},
		{"revoked", tunnel.StatusRevoked, now.Add(time.Hour), tunnel.ErrRevoked},
		{"revoked and over", tunnel.StatusRevoked, now.Add(-1), tunnel.ErrRevoked},
		{"unreadable", "ACTIVE", now.Add(time.Hour), nil},
		{"empty", "", now.Add(time.Hour), nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			err := row.status.Err(row.ends, now)
			if row.want == nil && row.status != tunnel.StatusActive {
				if err == nil || errors.Is(err, tunnel.ErrExpired) || errors.Is(err, tunnel.ErrRevoked) {
					t.Errorf("Err = %v, want that the status is unreadable", err)
				}
			} else if !errors.Is(err, row.want) {
				t.Errorf("Err = %v, want %v", err, row.want)
			}
		})
	}
}

func TestNewNames(t *testing.T) {
	seen := map[string]bool{}
	for range 100 {
		slug := tunnel.NewEphemeral()
		if _, err := tunnel.ParseSlug(string(slug)); err != nil || len(slug) != 20 || string(slug) != strings.ToLower(string(slug)) {
			t.Errorf("ephemeral slug %q: %v", slug, err)
		}
		session, pod := tunnel.NewSession(), string(tunnel.NewPodID("host"))
		if len(session) != 32 || !regexp.MustCompile(`\Ahost-[0-9a-f]{8}\z`).MatchString(pod) {
			t.Errorf("session %q, pod %q", session, pod)
		}
		for _, name := range []string{string(slug), session, pod} {
			if seen[name] {
				t.Fatalf("%q twice", name)
			}
			seen[name] = true
		}
	}
}
