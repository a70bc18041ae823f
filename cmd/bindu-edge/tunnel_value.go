package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// What people write for a value: a duration, a moment, a size, a limit.

// span is a duration: 90s, 15m, 720h, 30d or a sum such as 1d12h.
type span struct {
	given bool
	time.Duration
}

const maxSpan = 100 * 365 * 24 * time.Hour

// UnmarshalText serves the command line.
func (s *span) UnmarshalText(text []byte) error {
	var err error
	s.given = true
	s.Duration, err = parseSpan(string(text))
	return err
}

func parseSpan(text string) (time.Duration, error) {
	wrong := fmt.Errorf("%q is no duration: use a number with a unit, such as 90s, 15m, 12h or 30d", text)
	days, rest, hasDays := strings.Cut(text, "d")
	if !hasDays {
		days, rest = "", text
	}
	var d time.Duration
	if hasDays {
		n, err := strconv.ParseUint(days, 10, 16)
		if err != nil {
			return 0, wrong
		}
		d = time.Duration(n) * 24 * time.Hour
	}
	if rest != "" || !hasDays {
		more, err := time.ParseDuration(rest)
		if err != nil || more < 0 {
			return 0, wrong
		}
		d = min(d, maxSpan) + min(more, maxSpan+1) // which can't overflow
	}
	if d > maxSpan {
		return 0, fmt.Errorf("%q is too long: use at most 36500d", text)
	}
	return d, nil
}

// moment is a point in time: RFC 3339, or a day, which means its beginning in UTC.
type moment struct{ time.Time }

// UnmarshalText serves the command line.
func (m *moment) UnmarshalText(text []byte) error {
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if at, err := time.Parse(layout, string(text)); err == nil {
			m.Time = at
			return nil
		}
	}
	return fmt.Errorf("%q is no moment: use 2027-01-31T12:00:00Z or 2027-01-31", text)
}

// methodList is methods, comma separated; "default" leaves them to the edge's
// setting. What may be in it is the control plane's to say.
type methodList struct {
	given bool
	names []string
}

// UnmarshalText serves the command line.
func (l *methodList) UnmarshalText(text []byte) error {
	*l = methodList{given: true}
	if strings.EqualFold(string(text), "default") {
		return nil
	}
	for name := range strings.SplitSeq(string(text), ",") {
		if name = strings.ToUpper(strings.TrimSpace(name)); name != "" {
			l.names = append(l.names, name)
		}
	}
	if l.names == nil {
		return fmt.Errorf("%q names no method: use names such as GET, comma separated, or default", text)
	}
	return nil
}

// put adds the list to a patch.
func (l methodList) put(patch map[string]any, name string) {
	switch {
	case l.names != nil:
		patch[name] = l.names
	case l.given:
		patch[name] = nil
	}
}

// limit is a number for a tunnel's limit: "none" is 0, "default" leaves the
// part to the edge's setting.
type limit struct {
	given, fallback bool
	n               float64
}

// parse reads a limit; read reads the number.
func (l *limit) parse(text string, read func(string) (float64, error)) error {
	l.given = true
	switch strings.ToLower(text) {
	case "default":
		l.fallback = true
		return nil
	case "none":
		return nil
	}
	var err error
	l.n, err = read(text)
	return err
}

// put adds the limit to a patch.
func (l limit) put(patch map[string]any, name string) {
	switch {
	case l.fallback:
		patch[name] = nil
	case l.given:
		patch[name] = l.n // JSON writes a whole number below 1e21 without a point
	}
}

const mostLimit = 1_000_000

type (
	rateLimit  struct{ limit }
	countLimit struct{ limit }
	sizeLimit  struct{ limit }
)

// UnmarshalText serves the command line.
func (l *rateLimit) UnmarshalText(text []byte) error {
	return l.parse(string(text), func(text string) (float64, error) {
		f, err := strconv.ParseFloat(text, 64)
		if err != nil || !(f >= 0 && f <= mostLimit) {
			return 0, fmt.Errorf("%q is no rate: use requests a second from 0 to 1000000, none or default", text)
		}
		return f, nil
	})
}

// UnmarshalText serves the command line.
func (l *countLimit) UnmarshalText(text []byte) error {
	return l.parse(string(text), func(text string) (float64, error) {
		n, err := strconv.ParseUint(text, 10, 32)
		if err != nil || n > mostLimit {
			return 0, fmt.Errorf("%q is no number of requests: use 0 to 1000000, none or default", text)
		}
		return float64(n), nil
	})
}

// UnmarshalText serves the command line.
func (l *sizeLimit) UnmarshalText(text []byte) error {
	return l.parse(string(text), func(text string) (float64, error) {
		n, err := parseSize(text)
		return float64(n), err // exact: parseSize stays below 1<<53
	})
}

var units = []struct {
	name  string
	bytes float64
}{
	{"kib", 1 << 10}, {"mib", 1 << 20}, {"gib", 1 << 30}, {"tib", 1 << 40},
	{"kb", 1e3}, {"mb", 1e6}, {"gb", 1e9}, {"tb", 1e12},
	{"k", 1e3}, {"m", 1e6}, {"g", 1e9}, {"t", 1e12}, {"b", 1},
}

// parseSize reads bytes, with or without a unit: 65536, 64KiB, 10MB, 1.5GB.
func parseSize(text string) (int64, error) {
	number, factor := strings.ToLower(strings.TrimSpace(text)), 1.0
	for _, u := range units {
		if n, found := strings.CutSuffix(number, u.name); found {
			number, factor = strings.TrimSpace(n), u.bytes
			break
		}
	}
	f, err := strconv.ParseFloat(number, 64)
	if err != nil || strings.Trim(number, "0123456789.") != "" || f*factor != math.Trunc(f*factor) || f*factor > 1<<52 {
		return 0, fmt.Errorf("%q is no size: use bytes, or a unit as in 64KiB, 10MB or 1GiB, none or default", text)
	}
	return int64(f * factor), nil
}
