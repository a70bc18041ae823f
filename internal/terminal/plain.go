package terminal

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"strings"
	"time"
)

// plain writes events as lines. What happens starts with the time of day, what
// is true starts with a word in capitals and two spaces:
//
//	TARGET  http://localhost:3773
//	12:03:01 STATUS connecting
//	12:03:01 STATUS online
//	URL  http://localhost:8080/local_tunnel/abc/
//	12:03:04 POST /message 200 12ms 1.2kB
//
// Words of a request line hold no spaces; an error follows as error="…".
type plain struct {
	out     io.Writer
	lines   bytes.Buffer // of the batch at work
	shown   bool         // whether last holds anything
	last    linkState
	info    Info
	problem string
}

func (d *Display) runPlain(ctx context.Context) error {
	p := &plain{out: d.opts.Out}
	began := time.Now()
	p.fact("VERSION", d.opts.Version)
	p.fact("TARGET", d.opts.Target)
	if err := p.flush(); err != nil {
		return err
	}
	if err := d.pump(ctx, false, 0, p.show); err != nil {
		return err
	}
	p.fact("DONE", summary(d.totals(), time.Since(began)))
	return p.flush()
}

func (p *plain) show(b batch) error {
	for _, e := range b.events {
		switch e := e.(type) {
		case state:
			p.state(e)
		case targetState:
			p.target(e)
		case Request:
			p.line("%s", requestLine(e))
		case notice:
			p.line("%s %s %s", clock(e.time), level(e.level), e.text)
		}
	}
	if b.dropped > 0 {
		p.line("%s … %d not shown", clock(b.now), b.dropped)
	}
	return p.flush()
}

func (p *plain) line(format string, args ...any) { fmt.Fprintf(&p.lines, format+"\n", args...) }

// flush writes a batch in one call, which keeps its lines whole when others
// write to the same place.
func (p *plain) flush() error {
	if p.lines.Len() == 0 {
		return nil
	}
	defer p.lines.Reset()
	if _, err := p.out.Write(p.lines.Bytes()); err != nil {
		return fmt.Errorf("write status lines: %w", err)
	}
	return nil
}

func (p *plain) fact(key, value string) {
	if value != "" {
		p.line("%s  %s", key, value)
	}
}

// state says what is news. Between two failed tries "connecting" is not: the
// line about the first has announced the second.
func (p *plain) state(s state) {
	switch {
	case s.kind == online && !(p.shown && p.last == online):
		p.line("%s STATUS online", clock(s.since))
	case s.kind == connecting && !(p.shown && p.last != online):
		p.line("%s STATUS connecting", clock(s.since))
	case s.kind == offline:
		text := "offline"
		if s.reason != "" {
			text += ": " + s.reason
		}
		if s.retryIn > 0 {
			text += "; next try in " + formatWait(s.retryIn)
		}
		p.line("%s STATUS %s", clock(s.since), text)
	}
	p.shown, p.last = true, s.kind
	p.facts(s)
}

// facts follow the state that made them true, and only when they are news.
func (p *plain) facts(s state) {
	if s.kind != online {
		return
	}
	if s.info.URL != p.info.URL {
		p.fact("URL", s.info.URL)
	}
	if s.info.Page != p.info.Page {
		p.fact("PAGE", s.info.Page)
	}
	if s.info.Note != p.info.Note {
		p.fact("NOTE", s.info.Note)
	}
	for i, command := range s.info.Next {
		if i >= len(p.info.Next) || p.info.Next[i] != command {
			p.fact("NEXT", command)
		}
	}
	p.info = s.info
}

func (p *plain) target(t targetState) {
	switch {
	case t.problem == p.problem:
		return
	case t.problem == "":
		p.line("%s INFO the local service answers again", clock(t.since))
	default:
		p.line("%s WARN %s", clock(t.since), t.problem)
	}
	p.problem = t.problem
}

func requestLine(r Request) string {
	s := strings.Join([]string{
		clock(r.Time), r.Method, r.Path, formatStatus(r.Status), formatDuration(r.Duration), formatBytes(r.BytesOut),
	}, " ")
	if r.Err != "" {
		s += " error=" + strconv.Quote(r.Err)
	}
	return s
}

func clock(t time.Time) string { return t.Format(time.TimeOnly) }

func level(l slog.Level) string {
	switch {
	case l >= slog.LevelError:
		return "ERROR"
	case l >= slog.LevelWarn:
		return "WARN"
	case l >= slog.LevelInfo:
		return "INFO"
	}
	return "DEBUG"
}

// summary is the last line, for whoever comes back to the terminal later.
func summary(t totals, d time.Duration) string {
	s := plural(t.requests, "request", "requests")
	if t.failed > 0 {
		s += fmt.Sprintf(", %d failed", t.failed)
	}
	return s + fmt.Sprintf(", %s sent, in %s", formatBytes(t.bytesOut), formatSpan(d))
}
