package control

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/getbindu/bindu-edge/internal/tunnel"
)

// ErrInvalid is a value that can't be. Its error is a *FieldError, or wraps
// several.
var ErrInvalid = errors.New("invalid")

// FieldError names the field, as the API calls it, and says what would be right.
type FieldError struct {
	Field  string // "slug", "limits.rps", "cidrs.allow[3]"
	Detail string // for people; never repeats a secret
}

func (e *FieldError) Error() string { return e.Field + ": " + e.Detail }
func (e *FieldError) Unwrap() error { return ErrInvalid }

// FieldErrors are all the values that an error is about, in the order in which
// they were found wrong.
func FieldErrors(err error) (list []*FieldError) {
	switch e := err.(type) { //nolint:errorlint // each layer is looked at
	case *FieldError:
		return []*FieldError{e}
	case interface{ Unwrap() []error }:
		for _, one := range e.Unwrap() {
			list = append(list, FieldErrors(one)...)
		}
	case interface{ Unwrap() error }:
		return FieldErrors(e.Unwrap())
	}
	return list
}

func invalid(field, format string, args ...any) error {
	return &FieldError{Field: field, Detail: fmt.Sprintf(format, args...)}
}

// Bounds of what people may write.
const (
	MinSlugLength = 3
	MaxNameLength = 100 // characters
	MaxCIDRs      = 64  // in each list
	MaxRate       = 1_000_000
	MaxMethods    = 32
	maxMethod     = 32  // bytes
	maxText       = 256 // bytes, of a search or of something that a pod reports
)

// lastEnd is the last second that RFC 3339 can write.
var lastEnd = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)

// CheckSlug says why nobody may choose this slug. It must do as the label of a
// host name (RFC 1123, section 2.1), in which case makes no difference.
func CheckSlug(slug tunnel.Slug) error {
	s := string(slug)
	ok := len(s) >= MinSlugLength && len(s) <= tunnel.MaxSlugLength && s[0] != '-' && s[len(s)-1] != '-' &&
		strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
	if !ok {
		return invalid("slug", "must be %d to %d of a-z 0-9 -, with no - at either end", MinSlugLength, tunnel.MaxSlugLength)
	}
	return nil
}

func checkName(name string) error {
	if err := checkText("name", name, 4*MaxNameLength); err != nil {
		return err
	}
	if utf8.RuneCountInString(name) > MaxNameLength {
		return invalid("name", "must have at most %d characters", MaxNameLength)
	}
	return nil
}

// checkText refuses what a log or a screen could be fooled with.
func checkText(field, text string, most int) error {
	switch {
	case len(text) > most:
		return invalid(field, "must have at most %d bytes", most)
	case !utf8.ValidString(text):
		return invalid(field, "must be UTF-8")
	case strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }):
		return invalid(field, "must have no control characters")
	default:
		return nil
	}
}

// clip makes a text from a pod fit, where refusing it would help nobody.
func clip(text string) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, strings.ToValidUTF8(text, "\uFFFD"))
	for len(text) > maxText {
		_, size := utf8.DecodeLastRuneInString(text)
		text = text[:len(text)-size]
	}
	return text
}

func checkEnd(at time.Time) error {
	if at.Before(time.Unix(0, 0)) || at.After(lastEnd) {
		return invalid("expires_at", "must lie between 1970 and 9999")
	}
	return nil
}

func (l Limits) check() error {
	rate := func(field string, n *float64) error {
		if n != nil && !(*n >= 0 && *n <= MaxRate) { // refuses NaN too
			return invalid(field, "must be 0 to %d requests a second", MaxRate)
		}
		return nil
	}
	number := func(field string, n *int) error {
		if n != nil && (*n < 0 || *n > MaxRate) {
			return invalid(field, "must be 0 to %d requests", MaxRate)
		}
		return nil
	}
	size := func(field string, n *int64) error {
		if n != nil && (*n < 0 || *n > math.MaxInt64/2) {
			return invalid(field, "must be 0 to %d bytes", int64(math.MaxInt64/2))
		}
		return nil
	}
	return errors.Join(
		rate("limits.rps", l.RPS), number("limits.burst", l.Burst), number("limits.inflight", l.InFlight),
		size("limits.body_bytes", l.BodyBytes), rate("limits.caller_rps", l.CallerRPS),
		size("limits.response_bytes", l.ResponseBytes), checkMethods(l.Methods),
	)
}

// checkMethods wants names as an edge takes them: it reads none of a tunnel whose
// list it does not understand. An empty list, which would let in nobody or all, is
// neither.
func checkMethods(methods []string) error {
	if methods != nil && len(methods) == 0 || len(methods) > MaxMethods {
		return invalid("limits.methods", "must be 1 to %d, or null for those that the edge lets in", MaxMethods)
	}
	var wrong []error
	for i, m := range methods {
		field := fmt.Sprintf("limits.methods[%d]", i)
		switch {
		case m == "" || len(m) > maxMethod || strings.Trim(m, "ABCDEFGHIJKLMNOPQRSTUVWXYZ-") != "":
			wrong = append(wrong, invalid(field, "must be a method such as GET, in capitals, of at most %d", maxMethod))
		case m == "CONNECT":
			wrong = append(wrong, invalid(field, "can't be CONNECT: an edge is no proxy for other hosts"))
		case slices.Contains(methods[:i], m):
			wrong = append(wrong, invalid(field, "is there twice"))
		}
	}
	return errors.Join(wrong...)
}

func (c CIDRs) check() error {
	var wrong []error
	for _, list := range []struct {
		field string
		nets  []netip.Prefix
	}{{"cidrs.allow", c.Allow}, {"cidrs.deny", c.Deny}} {
		if len(list.nets) > MaxCIDRs {
			wrong = append(wrong, invalid(list.field, "must have at most %d entries", MaxCIDRs))
			continue
		}
		for i, n := range list.nets {
			if !n.IsValid() || n != n.Masked() || n.Addr().Is4In6() {
				wrong = append(wrong, invalid(fmt.Sprintf("%s[%d]", list.field, i), "must be a network such as 192.0.2.0/24 or 2001:db8::/32, without host bits"))
			}
		}
	}
	return errors.Join(wrong...)
}

// check is what must be right of a tunnel before it is kept: all of it is told at
// once. Its slug is checked when it is chosen.
func (t Tunnel) check() error {
	return errors.Join(checkName(t.Name), checkEnd(t.ExpiresAt), t.Limits.check(), t.CIDRs.check(), t.Auth.check())
}
