package web

import (
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/getbindu/bindu-edge/internal/control"
)

// field is one input of a form, with what was wrong with it.
type field struct {
	Name    string // of the input; also where package control's errors about it go
	Label   string
	Kind    string // "text", "number", "size", "select", "area", "secret", "moment" or "check"
	Value   string
	Unit    string // of "size": which factor is chosen; else a word behind the input
	Holder  string // shown in an empty input
	Hint    string
	Error   string
	Options []option
	Checked bool
	Max     int // characters; 0 = no limit of its own
}

type option struct {
	Value, Text string
	Chosen      bool
}

// entry is a form as it came in: what was written, and what is wrong with it.
// A nil *entry is a form that nobody has filled in yet.
type entry struct {
	values url.Values
	errors map[string]string
}

func readEntry(r *http.Request) (*entry, error) {
	if err := r.ParseForm(); err != nil {
		if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
			return nil, err
		}
		return nil, &refusal{http.StatusBadRequest, "Not a form", "What was sent can't be read as a form."}
	}
	return &entry{values: r.PostForm, errors: make(map[string]string)}, nil
}

func (e *entry) get(name string) string { return strings.TrimSpace(e.values.Get(name)) }

func (e *entry) wrong(name, text string) {
	if e.errors[name] == "" {
		e.errors[name] = text
	}
}

// fill shows what was written instead of what is, and what is wrong with it.
func (e *entry) fill(fields []field) []field {
	if e == nil {
		return fields
	}
	for i := range fields {
		f := &fields[i]
		f.Value, f.Error = e.values.Get(f.Name), e.errors[f.Name]
		switch f.Kind {
		case "check":
			f.Checked, f.Value = f.Value != "", ""
		case "secret":
			f.Value = "" // it is not sent back
		case "size":
			f.Unit = e.values.Get(f.Name + ".unit")
		}
		for j := range f.Options {
			f.Options[j].Chosen = f.Options[j].Value == f.Value
		}
	}
	return fields
}

// errForm is a form in which something can't be read. Package control gets it with
// the rest, so that one answer tells all that is wrong.
var errForm = errors.New("something in the form can't be read")

// wrongSoFar is errForm when something is wrong already.
func (e *entry) wrongSoFar() error {
	if e.bad() {
		return errForm
	}
	return nil
}

// refused puts each part of package control's refusal at the field that it is
// about. Any other error is given back.
func (e *entry) refused(err error) error {
	if err == nil {
		return nil
	}
	entries := make(map[string][]wrongEntry) // of lists, by their field
	for _, wrong := range control.FieldErrors(err) {
		name, index, listed := strings.Cut(wrong.Field, "[")
		n, err := strconv.Atoi(strings.TrimSuffix(index, "]"))
		if listed && err == nil {
			entries[name] = append(entries[name], wrongEntry{n + 1, wrong.Detail})
		} else {
			e.wrong(name, capital(wrong.Detail)+".")
		}
	}
	for name, list := range entries {
		e.wrong(name, tellEntries(list))
	}
	if errors.Is(err, control.ErrTaken) {
		e.wrong("slug", "It is taken, or held back because it was another tunnel's.")
	}
	if e.bad() {
		return nil
	}
	return err
}

// wrongEntry is one of a list, from 1.
type wrongEntry struct {
	number int
	detail string
}

// tellEntries says what is wrong with several of a list, the same only once.
func tellEntries(list []wrongEntry) string {
	var details []string
	numbers := make(map[string][]string)
	for _, w := range list {
		if numbers[w.detail] == nil {
			details = append(details, w.detail)
		}
		numbers[w.detail] = append(numbers[w.detail], strconv.Itoa(w.number))
	}
	var parts []string
	for _, detail := range details {
		which := numbers[detail]
		if len(which) == 1 {
			parts = append(parts, "Entry "+which[0]+" "+detail+".")
			continue
		}
		parts = append(parts, "Entries "+strings.Join(which[:len(which)-1], ", ")+" and "+which[len(which)-1]+": each "+detail+".")
	}
	return strings.Join(parts, " ")
}

func capital(text string) string {
	if text == "" {
		return text
	}
	return strings.ToUpper(text[:1]) + text[1:]
}

func (e *entry) bad() bool { return len(e.errors) > 0 }

// rate reads a number of requests a second; empty is nil.
func (e *entry) rate(name string) *float64 {
	text := e.get(name)
	if text == "" {
		return nil
	}
	n, err := strconv.ParseFloat(text, 64)
	if err != nil {
		e.wrong(name, "Must be a number such as 10 or 0.5, or empty.")
		return nil
	}
	return &n
}

func (e *entry) number(name string) *int {
	text := e.get(name)
	if text == "" {
		return nil
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		e.wrong(name, "Must be a whole number, or empty.")
		return nil
	}
	return &n
}

var sizeUnits = []struct {
	name  string
	bytes int64
}{{"B", 1}, {"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}}

// size reads bytes with the unit beside them.
func (e *entry) size(name string) *int64 {
	text := e.get(name)
	if text == "" {
		return nil
	}
	factor := int64(1)
	for _, u := range sizeUnits {
		if u.name == e.values.Get(name+".unit") {
			factor = u.bytes
		}
	}
	f, err := strconv.ParseFloat(text, 64)
	bytes := f * float64(factor)
	if err != nil || !(bytes >= 0 && bytes <= 1<<52) || bytes != float64(int64(bytes)) {
		e.wrong(name, "Must be a number of bytes, KiB, MiB or GiB, or empty.")
		return nil
	}
	n := int64(bytes)
	return &n
}

// sized splits bytes into a number and the largest unit that fits it whole.
func sized(n *int64) (value, unit string) {
	if n == nil {
		return "", "MiB"
	}
	unit, factor := "B", int64(1)
	for _, u := range sizeUnits {
		if *n > 0 && *n%u.bytes == 0 {
			unit, factor = u.name, u.bytes
		}
	}
	return strconv.FormatInt(*n/factor, 10), unit
}

func unitOptions(chosen string) []option {
	var list []option
	for _, u := range sizeUnits {
		list = append(list, option{u.name, u.name, u.name == chosen})
	}
	return list
}

// momentLayout is what an input of type datetime-local holds.
const momentLayout = "2006-01-02T15:04:05"

// moment reads such an input, in UTC; empty is the zero time.
func (e *entry) moment(name string) time.Time {
	text := e.get(name)
	if text == "" {
		return time.Time{}
	}
	for _, layout := range []string{momentLayout, "2006-01-02T15:04"} {
		if at, err := time.Parse(layout, text); err == nil {
			return at
		}
	}
	e.wrong(name, "Must be a day and a time, such as 2027-01-31 12:00.")
	return time.Time{}
}

// list reads lines, or words with commas or spaces between them.
func (e *entry) list(name string) []string {
	return strings.FieldsFunc(e.values.Get(name), func(c rune) bool {
		return c == '\n' || c == '\r' || c == ',' || c == ' ' || c == '\t'
	})
}

func choose(options []option, value string) []option {
	for i := range options {
		options[i].Chosen = options[i].Value == value
	}
	return options
}
