package terminal

import (
	"fmt"
	"log/slog"
	"strings"

	"charm.land/lipgloss/v2"
	"github.com/charmbracelet/x/ansi"
)

// Widths of the columns, in terminal cells.
const (
	clockWidth    = 8 // 12:03:04
	methodWidth   = 7 // OPTIONS
	statusWidth   = 3 // 6 where there is room for the heading
	durationWidth = 6 // see formatDuration
	sizeWidth     = 6 // see formatBytes
)

// The sixteen colours of the terminal's own palette, so that the screen fits
// the theme that somebody has chosen, dark or light.
var (
	bold   = lipgloss.NewStyle().Bold(true)
	dim    = lipgloss.NewStyle().Faint(true)
	green  = lipgloss.NewStyle().Foreground(lipgloss.Green)
	cyan   = lipgloss.NewStyle().Foreground(lipgloss.Cyan)
	yellow = lipgloss.NewStyle().Foreground(lipgloss.Yellow)
	red    = lipgloss.NewStyle().Foreground(lipgloss.Red)
)

// columns says which columns of the list a width has room for, and how wide
// the path may be. What matters least goes first.
type columns struct {
	clock, duration, size bool
	method, status, path  int
	gap                   string
}

func columnsFor(width int) columns {
	c := columns{clock: width >= 44, duration: width >= 36, size: width >= 56, method: methodWidth, status: statusWidth, gap: "  "}
	if width < 44 {
		c.gap = " "
	}
	if width < 30 {
		c.method = 4
	}
	if width >= 56 {
		c.status = len("STATUS")
	}
	c.path = width - c.method - c.status - 2*len(c.gap)
	for _, col := range []struct {
		on    bool
		width int
	}{{c.clock, clockWidth}, {c.duration, durationWidth}, {c.size, sizeWidth}} {
		if col.on {
			c.path -= col.width + len(c.gap)
		}
	}
	c.path = max(c.path, 1)
	return c
}

// join lays one line of the list out. The cells come cut to size and styled.
func (c columns) join(at, method, path, status, duration, size string) string {
	var cells []string
	if c.clock {
		cells = append(cells, at)
	}
	cells = append(cells, method, path, status)
	if c.duration {
		cells = append(cells, duration)
	}
	if c.size {
		cells = append(cells, size)
	}
	return strings.Join(cells, c.gap)
}

func (c columns) head() string {
	status := "STATUS"
	if c.status < len(status) {
		status = "ST"
	}
	return dim.Render(c.join(left("TIME", clockWidth), left("METHOD"[:min(6, c.method)], c.method), left("PATH", c.path),
		right(status, c.status), right("TOOK", durationWidth), right("SENT", sizeWidth)))
}

func (c columns) request(r Request) string {
	path := left(r.Path, c.path)
	if r.Err != "" {
		// The error has the room that the path leaves, and half of it at least.
		room := max(c.path/2, c.path-lipgloss.Width(r.Path)-2)
		why := ansi.Truncate(r.Err, room, "…")
		path = left(r.Path, max(c.path-lipgloss.Width(why)-2, 1))
		path += "  " + red.Render(why)
		if c.path < 24 { // too narrow for two texts: the path says which request it was
			path = left(r.Path, c.path)
		}
	}
	return c.join(dim.Render(clock(r.Time)), left(r.Method, c.method), path,
		statusStyle(r.Status).Render(right(formatStatus(r.Status), c.status)),
		right(formatDuration(r.Duration), durationWidth),
		dim.Render(right(formatBytes(r.BytesOut), sizeWidth)))
}

// line renders an entry of the list in exactly one line of at most width cells.
func (c columns) line(e event, width int) string {
	switch e := e.(type) {
	case Request:
		return c.request(e)
	case gap:
		return dim.Render(ansi.Truncate(fmt.Sprintf("… %d not shown", e.n), width, "…"))
	case notice:
		text, style := e.text, dim
		switch {
		case e.level >= slog.LevelError:
			style = red
		case e.level >= slog.LevelWarn:
			style = yellow
		}
		if !c.clock {
			return style.Render(ansi.Truncate(text, width, "…"))
		}
		return dim.Render(clock(e.time)) + c.gap + style.Render(ansi.Truncate(text, width-clockWidth-len(c.gap), "…"))
	}
	return ""
}

func statusStyle(status int) lipgloss.Style {
	switch {
	case status >= 500 || status <= 0:
		return red
	case status >= 400:
		return yellow
	case status >= 300:
		return cyan
	}
	return green
}

// left and right fill a text up to width cells, or cut it with ….
func left(s string, width int) string {
	s = ansi.Truncate(s, width, "…")
	return s + strings.Repeat(" ", max(width-lipgloss.Width(s), 0))
}

func right(s string, width int) string {
	s = ansi.Truncate(s, width, "…")
	return strings.Repeat(" ", max(width-lipgloss.Width(s), 0)) + s
}
