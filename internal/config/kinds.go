package config

import (
	"fmt"
	"log/slog"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/alecthomas/kong"
)

// kind is one way to read a setting. parse gets the text without space around
// it, and the tags of the setting; its error says what is wrong with the text
// and what would be right, without the setting's name.
type kind struct {
	placeholder string
	unit        string
	parse       func(text string, tag *kong.Tag) (any, error)
}

// kinds by the name that a `type` tag gives.
var kinds = map[string]kind{
	"bool":     {"BOOL", "", parseBool},
	"bytes":    {"BYTES", "bytes", parseBytes},
	"choice":   {"WORD", "", parseChoice},
	"count":    {"N", "", parseCount},
	"dial":     {"ADDR", "", parseDial},
	"domain":   {"DOMAIN", "", parseDomain},
	"host":     {"HOST", "", parseHost},
	"level":    {"LEVEL", "", parseLevel},
	"listen":   {"ADDR", "", parseListen},
	"methods":  {"METHODS", "", parseMethods},
	"path":     {"FILE", "", parsePath},
	"port":     {"PORT", "", parsePort},
	"prefixes": {"CIDRS", "", parsePrefixes},
	"rate":     {"N", "a second", parseRate},
	"seconds":  {"SECONDS", "seconds", parseSeconds},
	"secret":   {"SECRET", "", parseSecret},
	"share":    {"N", "", parseRate},
	"url":      {"URL", "", parseURL},
	"word":     {"WORD", "", parseWord},
}

// mapper makes a kind readable for kong.
type mapper struct {
	kind
	isBool bool
}

// IsBool says whether the flag may stand without a value.
func (m mapper) IsBool() bool { return m.isBool }

// PlaceHolder is what the help shows for the value.
func (m mapper) PlaceHolder(flag *kong.Flag) string {
	if flag.PlaceHolder != "" {
		return flag.PlaceHolder
	}
	return m.placeholder
}

// Decode reads one value. Values of a list add up when a flag is repeated.
func (m mapper) Decode(ctx *kong.DecodeContext, target reflect.Value) error {
	if m.isBool && ctx.Scan.Peek().Type != kong.FlagValueToken {
		target.SetBool(true)
		return nil
	}
	token := ctx.Scan.Pop()
	if !token.IsValue() {
		msg := "needs a value"
		if !token.IsEOL() {
			msg += fmt.Sprintf("; for one that starts with - write --%s=VALUE", ctx.Value.Name)
		}
		return &ValueError{Flag: ctx.Value.Name, Msg: msg}
	}
	text := fmt.Sprint(token.Value)
	if ctx.Value.Tag.Type != "secret" {
		text = strings.TrimSpace(text)
	}
	v, err := m.parse(text, ctx.Value.Tag)
	if err != nil {
		return &ValueError{Flag: ctx.Value.Name, Msg: err.Error()}
	}
	value := reflect.ValueOf(v)
	if target.Kind() == reflect.Slice {
		value = reflect.AppendSlice(target, value)
	}
	target.Set(value)
	return nil
}

// show quotes what came from outside when it wouldn't read as one plain word,
// and keeps it short.
func show(text string) string {
	const most = 60
	if r := []rune(text); len(r) > most {
		text = string(r[:most]) + "…"
	}
	odd := func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) || r == '"' }
	if text == "" || strings.ContainsFunc(text, odd) {
		return strconv.Quote(text)
	}
	return text
}

// span is the allowed range of a number, as told to the operator.
func span(tag *kong.Tag) string {
	s := "use " + tag.Get("min") + " to " + tag.Get("max")
	if zero := tag.Get("zero"); zero != "" {
		s += " (0: " + zero + ")"
	}
	return s
}

// number reads a decimal in the range of its tags. An exponent, a sign, a unit
// and the words for NaN and infinity are no numbers here.
func number(text, what string, tag *kong.Tag) (float64, error) {
	digits := strings.TrimPrefix(text, "-")
	f, err := strconv.ParseFloat(digits, 64)
	if err != nil || strings.Trim(digits, "0123456789.") != "" {
		return 0, fmt.Errorf("%s is not a number%s: %s", show(text), what, span(tag))
	}
	if digits != text {
		f = -f
	}
	least, most := bound(tag, "min"), bound(tag, "max")
	switch {
	case f < least:
		return 0, fmt.Errorf("%s is too small: %s", show(text), span(tag))
	case f > most:
		return 0, fmt.Errorf("%s is too large: %s", show(text), span(tag))
	}
	return f, nil
}

// whole reads an integer in the range of its tags.
func whole(text, what string, tag *kong.Tag) (int64, error) {
	if strings.ContainsRune(text, '.') {
		return 0, fmt.Errorf("%s is not a whole number%s: %s", show(text), what, span(tag))
	}
	f, err := number(text, what, tag)
	if err != nil {
		return 0, err
	}
	return int64(f), nil // exact: every max is far below 1<<53
}

// bound reads a limit of the declaration; a wrong one is our own mistake, which
// the tests of the declaration find.
func bound(tag *kong.Tag, key string) float64 {
	f, err := strconv.ParseFloat(tag.Get(key), 64)
	if err != nil {
		panic("config: setting " + tag.Get("setting") + " has no readable " + key)
	}
	return f
}

func parseSeconds(text string, tag *kong.Tag) (any, error) {
	f, err := number(text, " of seconds", tag)
	if err != nil {
		return nil, err
	}
	return time.Duration(math.Round(f * float64(time.Second))), nil
}

func parseBytes(text string, tag *kong.Tag) (any, error) { return whole(text, " of bytes", tag) }

func parseCount(text string, tag *kong.Tag) (any, error) {
	n, err := whole(text, "", tag)
	return int(n), err
}

func parseRate(text string, tag *kong.Tag) (any, error) { return number(text, "", tag) }

func parsePort(text string, _ *kong.Tag) (any, error) {
	// Kubernetes gives every container of a namespace with a Service named
	// "redis" a REDIS_PORT of this form, unasked.
	if strings.HasPrefix(text, "tcp://") {
		return nil, fmt.Errorf("%s is what Kubernetes sets for a Service of that name: use a port from 1 to 65535, or enableServiceLinks: false in the pod", show(text))
	}
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil || n == 0 {
		return nil, fmt.Errorf("%s is not a port: use 1 to 65535", show(text))
	}
	return int(n), nil
}

func parseBool(text string, _ *kong.Tag) (any, error) {
	switch strings.ToLower(text) {
	case "true", "1", "yes", "on":
		return true, nil
	case "false", "0", "no", "off":
		return false, nil
	}
	return nil, fmt.Errorf("%s is neither true nor false: use one of these", show(text))
}

func parseChoice(text string, tag *kong.Tag) (any, error) {
	choices := strings.Split(tag.Get("choices"), ",")
	low := strings.ToLower(text)
	for _, c := range choices {
		if c == low {
			return c, nil
		}
	}
	return nil, fmt.Errorf("%s is not known: use %s", show(text), orList(choices))
}

// parseLevel knows the levels of the original service, and slog's WARN.
func parseLevel(text string, _ *kong.Tag) (any, error) {
	switch strings.ToUpper(text) {
	case "DEBUG":
		return slog.LevelDebug, nil
	case "INFO":
		return slog.LevelInfo, nil
	case "WARNING", "WARN":
		return slog.LevelWarn, nil
	case "ERROR":
		return slog.LevelError, nil
	case "CRITICAL":
		return slog.LevelError + 4, nil
	}
	return nil, fmt.Errorf("%s is not a level: use DEBUG, INFO, WARNING, ERROR or CRITICAL", show(text))
}

// parseMethods reads HTTP methods: tokens of RFC 9110 section 5.6.2. Methods
// are case-sensitive; lower case in a setting is taken for the usual upper case.
func parseMethods(text string, _ *kong.Tag) (any, error) {
	var methods []string
	for item := range strings.SplitSeq(text, ",") {
		m := strings.ToUpper(strings.TrimSpace(item))
		if m == "" {
			continue
		}
		if strings.ContainsFunc(m, func(r rune) bool { return !isToken(r) }) {
			return nil, fmt.Errorf("%s is not an HTTP method: use names such as GET, comma separated", show(item))
		}
		if m == "CONNECT" {
			return nil, fmt.Errorf("CONNECT can't be allowed: an edge is no proxy for other hosts")
		}
		methods = append(methods, m)
	}
	if methods == nil {
		return nil, fmt.Errorf("%s names no method: use names such as GET, comma separated", show(text))
	}
	return methods, nil
}

func isToken(r rune) bool {
	return 'A' <= r && r <= 'Z' || 'a' <= r && r <= 'z' || '0' <= r && r <= '9' ||
		strings.ContainsRune("!#$%&'*+-.^_`|~", r)
}

// parseSecret shows nothing of the text in its errors. Space inside belongs to
// it, a line end at its end is what a shell's $(cat file) may leave.
func parseSecret(text string, tag *kong.Tag) (any, error) {
	text = strings.TrimRight(text, "\r\n")
	if text == "" {
		return nil, fmt.Errorf("is empty: give the secret, or leave it out")
	}
	if err := plain(text); err != nil {
		return nil, err
	}
	if err := longEnough(text, tag); err != nil {
		return nil, err
	}
	return NewSecret(text), nil
}

func longEnough(text string, tag *kong.Tag) error {
	if least, _ := strconv.Atoi(tag.Get("minlen")); len(text) < least {
		return fmt.Errorf("has %d bytes: use at least %d, such as the output of openssl rand -hex 32", len(text), least)
	}
	return nil
}

func parsePath(text string, _ *kong.Tag) (any, error) {
	if text == "" || strings.ContainsRune(text, 0) {
		return nil, fmt.Errorf("%s is not a file: use its path", show(text))
	}
	return text, nil
}

func parseWord(text string, _ *kong.Tag) (any, error) {
	if text == "" || strings.ContainsFunc(text, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }) {
		return nil, fmt.Errorf("%s is not a word: use text without spaces", show(text))
	}
	return text, nil
}

// orList joins words as in "a, b or c".
func orList(words []string) string {
	if len(words) == 1 {
		return words[0]
	}
	return strings.Join(words[:len(words)-1], ", ") + " or " + words[len(words)-1]
}
