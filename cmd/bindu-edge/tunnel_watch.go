package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/charmbracelet/x/ansi"
	"github.com/charmbracelet/x/term"

	"github.com/getbindu/bindu-edge/internal/planeclient"
	"github.com/getbindu/bindu-edge/internal/terminal"
)

// watcher shows a list that is asked for again and again.
type watcher interface {
	show(list []planeclient.Tunnel, now time.Time) error
	// away says that the last answer did not come. What was shown stays.
	away(problem error) error
	end() error
}

// watchTunnels shows the list until ctx ends. A control plane that goes away
// after the first answer is waited for; a refusal ends it.
func watchTunnels(ctx context.Context, p *process, at *plane, filter planeclient.Filter, every time.Duration, asJSON bool) (err error) {
	var w watcher = &changes{out: p.stdout, problems: p.stderr, json: asJSON}
	if out, ok := p.stdout.(*os.File); ok && !asJSON && isTerminal(out) {
		w = &live{inPlace: inPlace{paper: newPaper(out), tty: out}}
	}
	defer func() { err = errors.Join(err, w.end()) }()
	tick := time.NewTicker(every)
	defer tick.Stop()
	for first := true; ; first = false {
		list, _, err := at.ListTunnels(ctx, filter)
		_, isAway := errors.AsType[*planeclient.AwayError](err)
		switch {
		case ctx.Err() != nil:
			return nil
		case err == nil:
			err = w.show(list, time.Now())
		case !first && isAway:
			err = w.away(at.failed(err))
		default:
			err = at.failed(err)
		}
		if err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// changes prints what differs from the list before, one line each:
//
//	2027-01-31T12:00:00Z connected ID SLUG NAME
type changes struct {
	out, problems io.Writer
	json          bool
	before        map[string]planeclient.Tunnel // nil before the first list
	gone          bool                          // the control plane, which was said
}

func (c *changes) show(list []planeclient.Tunnel, now time.Time) error {
	out := bufio.NewWriter(c.out)
	have := make(map[string]planeclient.Tunnel, len(list))
	c.gone = false
	for _, t := range slices.Backward(list) { // the oldest first, as they came
		have[t.ID] = t
		for _, what := range c.differences(t) {
			c.print(out, now, what, t)
		}
	}
	for id, t := range c.before {
		if _, ok := have[id]; !ok {
			c.print(out, now, "gone", t)
		}
	}
	c.before = have
	return out.Flush()
}

// differences are words for what became of a tunnel since it was seen last.
func (c *changes) differences(t planeclient.Tunnel) []string {
	was, seen := c.before[t.ID]
	switch {
	case c.before == nil:
		return []string{"listed"}
	case !seen:
		return []string{"new"}
	}
	var list []string
	if t.Status != was.Status {
		list = append(list, t.Status)
	} else if !t.UpdatedAt.Equal(was.UpdatedAt) {
		list = append(list, "changed")
	}
	if t.Link.State != was.Link.State {
		list = append(list, t.Link.State)
	}
	return list
}

func (c *changes) print(w io.Writer, now time.Time, what string, t planeclient.Tunnel) {
	if c.json {
		text, err := json.Marshal(struct {
			At     time.Time       `json:"at"`
			Change string          `json:"change"`
			Tunnel json.RawMessage `json:"tunnel"`
		}{now.UTC().Truncate(time.Second), what, t.Raw})
		if err == nil { // Raw was JSON when it came
			_, _ = fmt.Fprintf(w, "%s\n", text)
		}
		return
	}
	name := ""
	if t.Name != "" {
		name = " " + t.Name
	}
	_, _ = fmt.Fprintln(w, terminal.Clean(fmt.Sprintf("%s %s %s %s%s", now.UTC().Format(time.RFC3339), what, t.ID, t.Slug, name)))
}

func (c *changes) away(problem error) error {
	if c.gone {
		return nil
	}
	c.gone = true
	_, err := fmt.Fprintf(c.problems, "%v; waiting for it\n", problem)
	return err
}

func (c *changes) end() error { return nil }

// live keeps the table of the last list in place.
type live struct {
	inPlace
	last []planeclient.Tunnel
}

// inPlace keeps lines in place on a terminal's other screen, so that what was
// there before comes back.
type inPlace struct {
	paper *paper
	tty   *os.File
	on    bool
}

const (
	otherScreen  = "\x1b[?1049h\x1b[?25l" // and no cursor
	firstScreen  = "\x1b[?25h\x1b[?1049l"
	toTop        = "\x1b[H"
	clearLine    = "\x1b[K"
	clearBelow   = "\x1b[J"
	fallbackRows = 24
)

func (l *live) show(list []planeclient.Tunnel, now time.Time) error {
	l.last = list
	return l.table(cell{fmt.Sprintf("%d tunnels, %s; Ctrl-C ends", len(list), now.Format(time.TimeOnly)), faint}, now)
}

func (l *live) away(problem error) error {
	return l.table(cell{problem.Error(), red}, time.Now())
}

func (l *live) table(foot cell, now time.Time) error {
	return l.draw(l.paper.align(tableOf(l.last, now)), foot)
}

func (l *inPlace) draw(lines []string, foot cell) error {
	width, height, err := term.GetSize(l.tty.Fd())
	if err != nil || width < 1 || height < 1 {
		width, height = 0, fallbackRows
	}
	if !l.on {
		l.on = true
		_, _ = l.paper.w.WriteString(otherScreen)
	}
	if room := max(height-2, 1); len(lines) > room {
		lines = append(lines[:room-1:room-1], fmt.Sprintf("… %d more", len(lines)-room+1))
	}
	lines = append(lines, "", l.paper.paint(foot))
	_, _ = l.paper.w.WriteString(toTop)
	for i, line := range lines[max(0, len(lines)-height):] {
		if i > 0 {
			_, _ = l.paper.w.WriteString("\n") // the terminal begins the line
		}
		if width > 0 {
			line = ansi.Truncate(line, width, "…")
		}
		_, _ = l.paper.w.WriteString(line + clearLine)
	}
	_, _ = l.paper.w.WriteString(clearBelow)
	return l.paper.flush()
}

func (l *inPlace) end() error {
	if !l.on {
		return nil
	}
	_, _ = l.paper.w.WriteString(firstScreen)
	return l.paper.flush()
}
