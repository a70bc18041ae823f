package terminal

import (
	"fmt"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"
	"charm.land/lipgloss/v2"
	"github.com/charmbracelet/x/ansi"
)

const (
	// maxWidth keeps a line together on a very wide terminal, where a path and
	// its status would be far apart.
	maxWidth = 110
	// minList is how many lines of requests are worth more than the note.
	minList = 4
	// lastEntries is how many lines of the list stay after the end.
	lastEntries = 10
)

// View implements tea.Model. The screen is the alternate one: the user's own
// lines come back untouched at the end, and resizing leaves no debris.
func (m model) View() tea.View {
	v := tea.NewView(strings.Join(m.screen(), "\n"))
	v.AltScreen = true
	return v
}

func (m model) margin() int {
	if m.width < 44 {
		return 0
	}
	return 2
}

// inner is the width between the margins, in cells.
func (m model) inner() int { return max(min(m.width-2*m.margin(), maxWidth), 1) }

// screen is exactly height lines, none wider than the terminal.
func (m model) screen() []string {
	top, bottom := m.frame()
	list := m.list(max(m.height-len(top)-len(bottom), 0))
	lines := append(top, list...)
	for len(lines)+len(bottom) < m.height {
		lines = append(lines, "")
	}
	lines = append(lines, bottom...)
	return m.indent(lines[:min(len(lines), max(m.height, 1))])
}

func (m model) indent(lines []string) []string {
	for i, line := range lines {
		if line != "" {
			lines[i] = strings.Repeat(" ", m.margin()) + ansi.Truncate(line, m.width-m.margin(), "")
		}
	}
	return lines
}

func (m model) listHeight() int {
	top, bottom := m.frame()
	return max(m.height-len(top)-len(bottom), 1)
}

// frame is what stands above and below the list. On a low terminal it gives up
// first the blank lines, then the commands and the note, then the rest, so that
// status and URL are seen as long as anything is.
func (m model) frame() (top, bottom []string) {
	for thrift := range 4 {
		top, bottom = m.frameAt(thrift)
		if len(top)+len(bottom)+minList <= m.height {
			break
		}
	}
	return top, bottom
}

func (m model) frameAt(thrift int) (top, bottom []string) {
	blank := func() {
		if thrift < 1 {
			top = append(top, "")
		}
	}
	blank()
	top = append(top, m.title()...)
	blank()
	top = append(top, m.where()...)
	if thrift < 2 && len(m.info.Note)+len(m.info.Next) > 0 {
		blank()
		top = append(top, m.advice()...)
	}
	if thrift >= 3 {
		return top, nil
	}
	blank()
	top = append(top, m.counters(), columnsFor(m.inner()).head())
	if thrift < 1 {
		bottom = append(bottom, "")
	}
	return top, append(bottom, m.keys())
}

// title is the name on the left and the status on the right, or below it.
func (m model) title() []string {
	name := bold.Render("bindu-edge")
	if m.version != "" && m.inner() >= 44 {
		name += " " + dim.Render(ansi.Truncate(m.version, 20, "…"))
	}
	status := m.status()
	room := m.inner() - lipgloss.Width(name) - lipgloss.Width(status)
	if room < 2 {
		return []string{name, status}
	}
	return []string{name + strings.Repeat(" ", room) + status}
}

func (m model) status() string {
	switch {
	case m.stopping:
		return yellow.Render("○ stopping")
	case m.link.kind == online:
		return green.Render("● online") + dim.Render(" "+formatSpan(m.now.Sub(m.link.since)))
	case m.link.kind == connecting:
		return yellow.Render("○ connecting")
	case m.link.retryIn > 0:
		left := m.link.retryIn - m.now.Sub(m.link.since)
		return yellow.Render("○ reconnecting in " + formatWait(left))
	}
	return red.Render("● offline")
}

// where is the URL, whole even when it takes two lines since it is there to be
// copied, the target, and what is wrong with either.
func (m model) where() []string {
	lines := m.url()
	if m.target != "" {
		lines = append(lines, dim.Render("→ ")+ansi.Truncate(m.target, m.inner()-2, "…"))
	}
	if m.info.Page != "" {
		for _, line := range strings.Split(ansi.Hardwrap("page "+m.info.Page, m.inner(), false), "\n") {
			lines = append(lines, dim.Render(line)) // whole, like the URL
		}
	}
	if m.problem != "" {
		lines = append(lines, m.wrap(yellow, "! "+m.problem)...)
	}
	if m.reason != "" {
		style := yellow
		if m.link.kind == offline && m.link.retryIn == 0 {
			style = red
		}
		lines = append(lines, m.wrap(style, "! "+m.reason)...)
	}
	return lines
}

func (m model) url() []string {
	url, style := m.info.URL, bold.Foreground(lipgloss.Cyan)
	if m.link.kind != online {
		style = dim
	}
	if url == "" {
		url, style = "the URL comes with the connection", dim
	}
	lines := strings.Split(ansi.Hardwrap(url, m.inner(), false), "\n")
	for i, line := range lines {
		lines[i] = style.Render(line)
	}
	return lines
}

// advice is the note and the commands.
func (m model) advice() []string {
	var lines []string
	if m.info.Note != "" {
		lines = m.wrap(lipgloss.NewStyle(), m.info.Note)
	}
	for _, command := range m.info.Next {
		for _, line := range shellLines(command, m.inner()-2) {
			lines = append(lines, "  "+cyan.Render(line))
		}
	}
	return lines
}

// shellLines breaks a command that is too wide at its spaces, in the way that a
// shell puts it together again.
func shellLines(command string, width int) []string {
	const more, indent = " \\", "  "
	var lines []string
	line := ""
	for word := range strings.FieldsSeq(command) {
		switch {
		case line == "":
			line = word
		case ansi.StringWidth(line+" "+word) <= width-len(more):
			line += " " + word
		default:
			lines = append(lines, line+more)
			line = indent + word
		}
	}
	lines = append(lines, line)
	for i, l := range lines {
		lines[i] = ansi.Truncate(l, max(width, 1), "…")
	}
	return lines
}

// wrap breaks text at spaces into three lines at most.
func (m model) wrap(style lipgloss.Style, text string) []string {
	lines := strings.Split(ansi.Wrap(text, m.inner(), ""), "\n")
	if len(lines) > 3 {
		lines = lines[:3]
		lines[2] = ansi.Truncate(lines[2], m.inner()-1, "") + "…"
	}
	for i, line := range lines {
		lines[i] = style.Render(line)
	}
	return lines
}

func (m model) counters() string {
	t := m.totals
	parts := []string{bold.Render(plural(t.requests, "request", "requests"))}
	if t.failed > 0 {
		parts = append(parts, red.Render(fmt.Sprintf("%d failed", t.failed)))
	}
	if t.inFlight > 0 {
		parts = append(parts, fmt.Sprintf("%d in flight", t.inFlight))
	}
	if t.bytesOut > 0 {
		parts = append(parts, dim.Render(formatBytes(t.bytesOut)+" sent"))
	}
	return ansi.Truncate(strings.Join(parts, dim.Render(" · ")), m.inner(), "…")
}

func (m model) keys() string {
	if m.stopping {
		return dim.Render(ansi.Truncate("finishing requests · q leaves at once", m.inner(), "…"))
	}
	text := "q quit · c clear · ↑↓ scroll"
	if m.scroll > 0 {
		text = fmt.Sprintf("↓ %d newer · ", m.scroll) + text
	}
	return dim.Render(ansi.Truncate(text, m.inner(), "…"))
}

// list is the entries in sight, the newest at the bottom.
func (m model) list(height int) []string {
	if len(m.entries) == 0 {
		if height == 0 || m.totals.requests > 0 {
			return nil
		}
		return []string{dim.Render(ansi.Truncate("Nothing yet. Requests show up here.", m.inner(), "…"))}
	}
	end := len(m.entries) - m.scroll
	return m.rows(m.entries[max(end-height, 0):end])
}

func (m model) rows(entries []event) []string {
	c := columnsFor(m.inner())
	lines := make([]string, 0, len(entries))
	for _, e := range entries {
		lines = append(lines, c.line(e, m.inner()))
	}
	return lines
}

// final is what stays on the user's own screen when the display has ended.
func (m model) final(now time.Time) []string {
	lines := []string{bold.Render("bindu-edge") + dim.Render(" · ended "+clock(now))}
	if m.info.URL != "" {
		lines = append(lines, m.url()...)
	}
	if m.target != "" {
		lines = append(lines, dim.Render("→ ")+ansi.Truncate(m.target, m.inner()-2, "…"))
	}
	if m.reason != "" {
		lines = append(lines, m.wrap(yellow, "! "+m.reason)...)
	}
	if len(m.entries) > 0 {
		lines = append(lines, "", columnsFor(m.inner()).head())
		lines = append(lines, m.rows(m.entries[max(len(m.entries)-lastEntries, 0):])...)
	}
	return m.indent(append(lines, "", ansi.Truncate(summary(m.totals, now.Sub(m.began)), m.inner(), "…")))
}
