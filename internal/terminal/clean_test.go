package terminal

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/charmbracelet/x/ansi"
)

func TestClean(t *testing.T) {
	tests := []struct {
		name, input, want string
	}{
		{"empty", "", ""},
		{"plain path", "/a/b?c=d&e=%20", "/a/b?c=d&e=%20"},
		{"other scripts", "/größe/日本/עברית", "/größe/日本/עברית"},
		{"combining mark", "e\u0301", "e\u0301"},
		{"backslash", `C:\x`, `C:\x`},
		{"colour", "\x1b[31mred", `\x1b[31mred`},
		{"window title", "\x1b]0;owned\x07", `\x1b]0;owned\x07`},
		{"line break", "a\r\nb\tc", `a\x0d\x0ab\x09c`},
		{"delete", "a\x7f", `a\x7f`},
		{"C1 introducer", "\u009b31m", `\u009b31m`},
		{"raw C1 byte", "\x9b31m", `\x9b31m`},
		{"bidi override", "a\u202eb\u2066c", `a\u202eb\u2066c`},
		{"bidi marks", "\u200e\u200f\u061c", `\u200e\u200f\u061c`},
		{"zero width", "a\u200bb\ufeff", `a\u200bb\ufeff`},
		{"line separator", "a\u2028b", `a\u2028b`},
		{"no-break space", "a\u00a0b", `a\u00a0b`},
		{"filler letters", "\u3164\u115f\u2800", `\u3164\u115f\u2800`},
		{"variation selector", "a\ufe0f", `a\ufe0f`},
		{"invalid UTF-8", "a\xff\xc3", `a\xff\xc3`},
		{"replacement character itself", "\ufffd", "\ufffd"},
		{"private use", "\ue000", `\ue000`},
		{"tag character", "\U000e0041", `\U000e0041`},
		{"mark on nothing", "/\u0301", `/\u0301`},
		{"mark on an escape", "\x1b\u0301", `\x1b\u0301`},
		{"pile of marks", "e\u0301\u0301\u0301\u0301", "e\u0301\u0301\u0301" + `\u0301`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := Clean(tt.input); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestClip(t *testing.T) {
	tests := []struct {
		name, input string
		limit       int
		want        string
	}{
		{"fits", "abc", 3, "abc"},
		{"too long", "abcd", 3, "abc…"},
		{"no half character", "aéé", 4, "aé…"},
		{"no half escape", "abc\x1bd", 6, "abc…"},
		{"huge", strings.Repeat("\x1b", 1<<20), 8, `\x1b\x1b…`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := clip(tt.input, tt.limit); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestCleanWord(t *testing.T) {
	tests := []struct {
		name, input, want string
	}{
		{"nothing", "", "-"},
		{"space", "a b", `a\x20b`},
		{"word", "GET", "GET"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := cleanWord(tt.input, 80); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func FuzzClean(f *testing.F) {
	for _, seed := range []string{
		"", "/message", "\x1b]8;;http://x\x1b\\y\x1b]8;;\x1b\\", "\u009b2J", "\xc2", "a\u202eb", "e\u0301\u0301\u0301\u0301\u0301",
		"\U000e0001", "👩‍💻", "\u0e01\u0e33", "\x00\x7f\u0080\u009f", "\u2028\u2029",
	} {
		f.Add(seed, uint16(40))
	}
	f.Fuzz(func(t *testing.T, s string, limit uint16) {
		got := Clean(s)
		if !utf8.ValidString(got) {
			t.Fatalf("%q is not UTF-8", got)
		}
		for _, r := range got {
			if !unicode.IsPrint(r) || unicode.In(r, unicode.C, unicode.Zl, unicode.Zp, unicode.Bidi_Control, unicode.Variation_Selector) {
				t.Fatalf("%U is left in %q", r, got)
			}
		}
		if stripped := ansi.Strip(got); stripped != got {
			t.Fatalf("a terminal would see commands in %q: only %q is text", got, stripped)
		}
		if again := Clean(got); again != got {
			t.Fatalf("cleaned twice: %q, then %q", got, again)
		}
		short := clip(s, int(limit))
		if len(short) > int(limit)+len("…") {
			t.Fatalf("%d bytes of at most %d", len(short), limit)
		}
		if want := strings.TrimSuffix(short, "…"); !strings.HasPrefix(got, want) {
			t.Fatalf("%q is not the beginning of %q", want, got)
		}
	})
}
