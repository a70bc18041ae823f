package terminal

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxMarks is how many combining marks may follow one letter. Written
// languages need up to three; an attacker stacks hundreds, which many
// terminals draw over the lines above.
const maxMarks = 3

// Clean makes text from a stranger safe to show on a terminal. What can be
// seen and takes its place in the line stays as it is; everything else becomes
// a visible escape in the style of Go: \x1b for a byte, \u202e for a
// character. So no escape sequence, line break, direction override, invisible
// character or invalid UTF-8 is left, and Clean of a cleaned text changes
// nothing. A backslash stays a backslash: the result is for eyes, not for
// decoding.
func Clean(s string) string { return clip(s, len(s)*len(`\U0010ffff`)) }

// clip is Clean for text that is kept: at most limit bytes, with … at the end
// when something is missing. It looks at no more of s than it needs.
func clip(s string, limit int) string {
	if len(s) <= limit && isPlainASCII(s) {
		return s
	}
	var b strings.Builder
	letter, marks := false, 0
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		word := s[i : i+size]
		switch {
		case r == utf8.RuneError && size == 1:
			word = fmt.Sprintf(`\x%02x`, s[i])
			letter = false
		case unicode.In(r, unicode.Mn, unicode.Me):
			if marks++; !letter || marks > maxMarks || invisible(r) {
				word = escape(r)
				letter = false
			}
		case !unicode.IsPrint(r) || invisible(r):
			word = escape(r)
			letter = false
		default:
			letter, marks = unicode.IsLetter(r), 0
		}
		if b.Len()+len(word) > limit {
			b.WriteString("…")
			break
		}
		b.WriteString(word)
		i += size
	}
	return b.String()
}

// cleanWord is clip for one column: no spaces either, so that a line can be
// split at them, and a placeholder instead of nothing.
func cleanWord(s string, limit int) string {
	if s == "" {
		return "-"
	}
	return strings.ReplaceAll(clip(s, limit), " ", `\x20`)
}

func isPlainASCII(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// invisible reports characters that count as printable but leave no ink, and
// so could make two different texts look the same: fillers, variation
// selectors, the blank Braille pattern.
func invisible(r rune) bool {
	return r == '\u2800' || unicode.In(r, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector)
}

func escape(r rune) string {
	switch {
	case r < utf8.RuneSelf:
		return fmt.Sprintf(`\x%02x`, r)
	case r <= 0xffff:
		return fmt.Sprintf(`\u%04x`, r)
	}
	return fmt.Sprintf(`\U%08x`, r)
}
