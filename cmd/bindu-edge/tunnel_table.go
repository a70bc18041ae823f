package main

import (
	"bufio"
	"fmt"
	"io"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/charmbracelet/x/ansi"
	"github.com/charmbracelet/x/term"

	"github.com/getbindu/bindu-edge/internal/planeclient"
	"github.com/getbindu/bindu-edge/internal/terminal"
)

// cell is a text in a colour. The text is made safe where it is printed.
type cell struct {
	text   string
	colour colour
}

type colour string

const (
	plain  colour = ""
	faint  colour = "2"
	bold   colour = "1"
	red    colour = "31"
	green  colour = "32"
	yellow colour = "33"
)

type field struct {
	name  string
	value cell
}

// paper is where tables and fields are written: in colours on a terminal, and
// as plain text anywhere else.
type paper struct {
	w      *bufio.Writer
	colour bool
	width  int // columns; 0 = lines stay whole, see fit
}

func newPaper(w io.Writer) *paper {
	return &paper{w: bufio.NewWriter(w), colour: isTerminal(w) && os.Getenv("NO_COLOR") == "", width: widthOf(w)}
}

// isTerminal reports whether w is a terminal that understands escape sequences.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && os.Getenv("TERM") != "dumb" && term.IsTerminal(f.Fd())
}

func (p *paper) flush() error { return p.w.Flush() }

func (p *paper) line(text string) { _, _ = fmt.Fprintln(p.w, text) } // flush tells

func (p *paper) paint(c cell) string {
	text := terminal.Clean(c.text)
	if !p.colour || c.colour == plain {
		return text
	}
	return "\x1b[" + string(c.colour) + "m" + text + "\x1b[0m"
}

// fields writes names and values, one a line.
func (p *paper) fields(list []field) {
	rows := make([][]cell, len(list))
	for i, f := range list {
		rows[i] = []cell{{f.name, faint}, f.value}
	}
	for _, line := range p.align(rows) {
		p.line("  " + line)
	}
}

// align makes lines of rows, with two spaces between the columns. The last
// column needs no padding, so lines end with what is in it.
func (p *paper) align(rows [][]cell) []string {
	var widths []int
	for _, row := range rows {
		for i, c := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], ansi.StringWidth(terminal.Clean(c.text)))
		}
	}
	lines := make([]string, len(rows))
	for n, row := range rows {
		var b strings.Builder
		for i, c := range row {
			b.WriteString(p.paint(c))
			if i < len(row)-1 {
				b.WriteString(strings.Repeat(" ", widths[i]-ansi.StringWidth(terminal.Clean(c.text))+2))
			}
		}
		lines[n] = strings.TrimRight(b.String(), " ")
	}
	return lines
}

const maxNameColumns = 30

// tableOf is the table of a list, the head first.
func tableOf(list []planeclient.Tunnel, now time.Time) [][]cell {
	rows := [][]cell{{{"ID", bold}, {"SLUG", bold}, {"NAME", bold}, {"STATUS", bold}, {"LINK", bold}, {"SINCE", bold}, {"EXPIRES", bold}}}
	for _, t := range list {
		rows = append(rows, []cell{
			{t.ID, plain}, {t.Slug, plain}, {orDash(ansi.Truncate(terminal.Clean(t.Name), maxNameColumns, "…")), plain},
			statusCell(t), linkCell(t), {ago(t.Link.Since, now), faint}, {ago(t.ExpiresAt, now), plain},
		})
	}
	return rows
}

func statusCell(t planeclient.Tunnel) cell {
	colours := map[string]colour{"active": green, "expired": yellow, "revoked": red}
	return cell{t.Status, colours[t.Status]}
}

func linkCell(t planeclient.Tunnel) cell {
	colours := map[string]colour{"connected": green, "offline": faint, "unknown": yellow}
	return cell{t.Link.State, colours[t.Link.State]}
}

func orDash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}

// ago says how far a moment is from now, in its largest unit: 5m ago, in 29d.
func ago(at, now time.Time) string {
	if at.IsZero() {
		return "-"
	}
	d := at.Sub(now)
	if d < 0 {
		return about(-d) + " ago"
	}
	return "in " + about(d)
}

// about rounds to the nearest: a tunnel made for 30 days says 30d, not 29d.
func about(d time.Duration) string {
	for _, unit := range []struct {
		below, length time.Duration
		name          string
	}{{time.Minute, time.Second, "s"}, {time.Hour, time.Minute, "m"}, {48 * time.Hour, time.Hour, "h"}} {
		if d = d.Round(unit.length); d < unit.below {
			return strconv.Itoa(int(d/unit.length)) + unit.name
		}
	}
	return strconv.Itoa(int(d.Round(24*time.Hour)/(24*time.Hour))) + "d"
}

// at is a moment both ways: 2027-01-31 12:00:00 UTC (in 29d).
func at(moment, now time.Time) string {
	return moment.UTC().Format("2006-01-02 15:04:05 UTC") + " (" + ago(moment, now) + ")"
}

// label is a tunnel in a sentence.
func label(t planeclient.Tunnel) string {
	text := "tunnel " + t.ID + " (" + t.Slug
	if t.Name != "" {
		text += ", " + t.Name
	}
	return terminal.Clean(text + ", " + t.Link.State + ")")
}

// describe is everything that is known of a tunnel, for people.
func describe(t planeclient.Tunnel, edge *url.URL, now time.Time) []field {
	list := []field{{"id", cell{t.ID, plain}}, {"slug", cell{t.Slug, plain}}}
	put := func(name, text string) { list = append(list, field{name, cell{text, plain}}) }
	if t.Name != "" {
		put("name", t.Name)
	}
	if edge != nil {
		put("URL", edge.JoinPath("local_tunnel", t.Slug).String()+"/")
	}
	list = append(list, field{"status", statusCell(t)})
	link := linkCell(t)
	if !t.Link.Since.IsZero() {
		link.text += " since " + at(t.Link.Since, now)
	}
	list = append(list, field{"link", link})
	if t.Link.State == "connected" {
		put("agent", strings.TrimSpace(orDash(t.Link.AgentVersion)+" by "+orDash(t.Link.Protocol)+", on pod "+orDash(t.Link.Pod)))
	}
	if t.Link.LastError != "" {
		text := t.Link.LastError
		if !t.Link.LastErrorAt.IsZero() {
			text += ", " + at(t.Link.LastErrorAt, now)
		}
		put("last error", text)
	}
	put("created", at(t.CreatedAt, now))
	put("expires", at(t.ExpiresAt, now))
	if !t.RevokedAt.IsZero() {
		put("revoked", at(t.RevokedAt, now))
	}
	if !t.OldTokenUntil.IsZero() {
		put("old token", "opens it until "+at(t.OldTokenUntil, now))
	}
	put("limits", limitsText(t.Limits))
	if t.Auth.Type != "none" && t.Auth.Type != "" {
		text := t.Auth.Type
		for _, c := range t.Auth.Credentials {
			text += " " + c.User
		}
		if t.Auth.PassOn {
			text = strings.TrimSpace(text) + ", passed on to the agent"
		}
		put("callers", strings.TrimSpace(text))
	}
	if len(t.CIDRs.Allow) > 0 {
		put("allowed", strings.Join(t.CIDRs.Allow, ", "))
	}
	if len(t.CIDRs.Deny) > 0 {
		put("denied", strings.Join(t.CIDRs.Deny, ", "))
	}
	return list
}

// limitsText tells what was set; the rest is up to the edge.
func limitsText(l planeclient.Limits) string {
	var parts []string
	for _, part := range []string{
		limitText(l.RPS, "requests a second", "any rate"),
		limitText(l.Burst, "at once", "a second's worth at once"),
		limitText(l.CallerRPS, "a second from one address", "any rate from one address"),
		limitText(l.InFlight, "at a time", "any number at a time"),
		limitText(l.BodyBytes, "bytes a body", "bodies of any size"),
		limitText(l.ResponseBytes, "bytes an answer", "answers of any size"),
		strings.Join(l.Methods, " "),
	} {
		if part != "" {
			parts = append(parts, part)
		}
	}
	if len(parts) == 0 {
		return "the edge's"
	}
	return strings.Join(parts, ", ")
}

func limitText[N float64 | int64](n *N, unit, zero string) string {
	switch {
	case n == nil:
		return ""
	case *n == 0:
		return zero
	}
	return strconv.FormatFloat(float64(*n), 'f', -1, 64) + " " + unit
}
