package config

import (
	"crypto/subtle"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	redacted = "[redacted]"

	// maxSecret bounds a secret's file in bytes: a token, a password or a URL
	// is far below it, a file named by mistake often above.
	maxSecret = 64 << 10
)

// Secret is a value that is never shown: printing it by any verb, logging it
// and encoding it all give "[redacted]" (nothing when it is empty). Only Reveal
// gives it out.
type Secret struct {
	// A pointer, since fmt calls no method for %p, nor on an unexported field of
	// a struct that is printed: it then shows an address.
	text *string
}

// NewSecret wraps what must not be shown.
func NewSecret(text string) Secret { return Secret{text: &text} }

// Reveal gives the secret itself.
func (s Secret) Reveal() string {
	if s.text == nil {
		return ""
	}
	return *s.text
}

// IsZero says whether there is no secret.
func (s Secret) IsZero() bool { return s.Reveal() == "" }

// Equal compares in time that doesn't depend on where the two differ.
func (s Secret) Equal(other Secret) bool {
	return subtle.ConstantTimeCompare([]byte(s.Reveal()), []byte(other.Reveal())) == 1
}

// String gives "[redacted]".
func (s Secret) String() string {
	if s.IsZero() {
		return ""
	}
	return redacted
}

// GoString gives "[redacted]" too, for %#v.
func (s Secret) GoString() string { return s.String() }

// Format takes every verb, since one that doesn't fit a string (%d) would make
// fmt print the fields.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }

// MarshalText serves JSON and YAML.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// LogValue serves slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// ReadSecret reads a secret from r: at most 64 KiB of UTF-8 text, of which one
// line end at its end is dropped. Its errors never show the text.
func ReadSecret(r io.Reader) (Secret, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxSecret+1))
	if err != nil {
		return Secret{}, err
	}
	if len(data) > maxSecret {
		return Secret{}, fmt.Errorf("holds more than %d bytes: that is no secret", maxSecret)
	}
	text := strings.TrimSuffix(strings.TrimSuffix(string(data), "\n"), "\r")
	if text == "" {
		return Secret{}, fmt.Errorf("is empty: it must hold the secret")
	}
	if err := plain(text); err != nil {
		return Secret{}, err
	}
	return NewSecret(text), nil
}

// ReadSecretFile is ReadSecret on a file.
func ReadSecretFile(path string) (Secret, error) {
	f, err := os.Open(path)
	if err != nil {
		return Secret{}, reason(err)
	}
	defer func() { _ = f.Close() }()
	s, err := ReadSecret(f)
	if err != nil {
		return Secret{}, fmt.Errorf("%s: %w", show(path), reason(err))
	}
	return s, nil
}

// plain refuses what can't be sent in a header or typed as a password, most of
// all a line end inside, the sign of a file that holds something else.
func plain(text string) error {
	if !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl) {
		return fmt.Errorf("holds control characters: it must be one line of text")
	}
	return nil
}
