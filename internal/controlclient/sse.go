package controlclient

import (
	"bufio"
	"errors"
	"io"
	"strings"
)

// Bounds of an event stream, in bytes.
const (
	MaxEventLine = 16 << 10
	MaxEvent     = 64 << 10
)

var errEventTooLong = errors.New("event is too long")

// event is one of a server-sent event stream.
type event struct {
	name string // empty = "message"
	id   string
	data string
}

// eventReader reads an event stream as the HTML standard has it (section 9.2.6),
// but for events without data, which count, and "retry", which does not.
type eventReader struct {
	in      *bufio.Reader
	skipLF  bool // the last line ended with CR
	started bool
}

func newEventReader(r io.Reader) *eventReader { return &eventReader{in: bufio.NewReaderSize(r, 4096)} }

// next waits for an event. Comments are none.
func (r *eventReader) next() (event, error) {
	var e event
	var data []string
	size, some := 0, false
	for {
		line, err := r.line()
		if err != nil {
			return event{}, err // what was read of an event is not one
		}
		if line == "" {
			if some {
				e.data = strings.Join(data, "\n")
				return e, nil
			}
			continue
		}
		if size += len(line); size > MaxEvent {
			return event{}, errEventTooLong
		}
		name, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch name {
		case "event":
			e.name, some = value, true
		case "data":
			data, some = append(data, value), true
		case "id":
			if !strings.Contains(value, "\x00") {
				e.id, some = value, true
			}
		}
	}
}

// line reads up to CR, LF or both.
func (r *eventReader) line() (string, error) {
	var line []byte
	for {
		c, err := r.in.ReadByte()
		if err != nil {
			return "", err
		}
		if c == '\n' && r.skipLF {
			r.skipLF = false
			continue
		}
		r.skipLF = c == '\r'
		if c == '\r' || c == '\n' {
			text := string(line)
			if !r.started {
				r.started, text = true, strings.TrimPrefix(text, "\uFEFF")
			}
			return text, nil
		}
		if len(line) == MaxEventLine {
			return "", errEventTooLong
		}
		line = append(line, c)
	}
}
