package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/charmbracelet/x/ansi"
	"github.com/charmbracelet/x/term"

	"github.com/getbindu/bindu-edge/internal/podstatus"
	"github.com/getbindu/bindu-edge/internal/terminal"
)

// fit cuts a line to the width of the terminal. Anywhere else it stays whole, to
// be searched.
func (p *paper) fit(line string) string {
	if p.width == 0 {
		return line
	}
	return ansi.Truncate(line, p.width, "…")
}

// widthOf is the columns of a terminal; 0 = no terminal, or not known.
func widthOf(w any) int {
	f, ok := w.(*os.File)
	if !ok {
		return 0
	}
	width, _, err := term.GetSize(f.Fd())
	if err != nil {
		return 0
	}
	return max(width, 0)
}

// statusLines is a pod's document for people: the pod itself, then a table of
// everything that there is any of. Ages are by the pod's clock, not by ours.
func statusLines(p *paper, s podstatus.Status, ends int) []string {
	now := s.Pod.StartedAt.Add(seconds(s.Pod.Uptime))
	lines := p.align(podRows(s, now))
	for _, table := range [][][]cell{dependencyRows(s, now), peerRows(s, now), tunnelRows(s, now), endRows(s, ends, now)} {
		if len(table) > 1 {
			lines = append(lines, "")
			lines = append(lines, p.align(table)...)
		}
	}
	if more := s.Tunnels.Found - len(s.Tunnels.List); more > 0 && len(s.Tunnels.List) > 0 {
		lines = append(lines, "", p.paint(cell{fmt.Sprintf("%d more tunnels are not listed: --tunnels N, --tunnel ID, --sort in_flight", more), faint}))
	}
	return lines
}

func podRows(s podstatus.Status, now time.Time) [][]cell {
	colours := map[string]colour{"ready": green, "degraded": yellow, "starting": yellow, "draining": red}
	status := s.Pod.Status
	if len(s.Pod.Why) > 0 {
		status += ": " + strings.Join(s.Pod.Why, ", ")
	}
	memory := plain
	if s.Memory.Pressure {
		memory = red
	}
	registry := plain
	if !s.Registry.Connected {
		registry = yellow
	}
	return [][]cell{
		{{"pod", faint}, {fmt.Sprintf("%s, %s, up %s", s.Pod.ID, s.Pod.Version, about(seconds(s.Pod.Uptime))), plain}},
		{{"status", faint}, {status, colours[s.Pod.Status]}},
		{{"requests", faint}, {fmt.Sprintf("%d in flight at this door, %d at agents of this pod", s.Requests.InFlight, s.Requests.AtAgents), plain}},
		{{"tunnels", faint}, {fmt.Sprintf("%d: %d h2, %d json; %d streams, %s unread", s.Tunnels.Total, s.Tunnels.H2, s.Tunnels.JSON, s.Tunnels.Streams, size(s.Tunnels.Unread)), plain}},
		{{"registry", faint}, {registryText(s.Registry, now), registry}},
		{{"memory", faint}, {memoryText(s.Memory), memory}},
	}
}

func registryText(r podstatus.Registry, now time.Time) string {
	text := r.Kind + ", claims: " + strconv.Itoa(r.Claims)
	if r.Kind == "memory" {
		return text
	}
	if !r.Connected {
		text += ", not connected"
	}
	if r.RefreshedAt.IsZero() {
		return text + ", no lease yet"
	}
	text += ", lease refreshed " + past(r.RefreshedAt, now)
	if r.HeldUntil.Before(now) {
		return text + ", lapsed " + past(r.HeldUntil, now)
	}
	return text + ", stands for " + about(r.HeldUntil.Sub(now))
}

func memoryText(m podstatus.Memory) string {
	text := size(int64(m.Heap)) + " heap, " + size(int64(m.Used)) + " in all"
	if m.Limit > 0 {
		text += " of " + size(m.Limit)
	}
	text += fmt.Sprintf(", %d goroutines", m.Goroutines)
	if m.Pressure {
		text += ": short, new work is refused"
	}
	return text
}

func dependencyRows(s podstatus.Status, now time.Time) [][]cell {
	colours := map[string]colour{"ok": green, "away": red, "unknown": yellow}
	rows := [][]cell{head("DEPENDENCY", "STATE", "FOR", "LAST OK", "TOOK", "LAST ERROR")}
	for _, d := range s.Dependencies {
		took := "-"
		if d.Latency != nil {
			took = strconv.FormatFloat(*d.Latency, 'f', 1, 64) + "ms"
		}
		rows = append(rows, []cell{
			{d.Name, plain}, {d.State, colours[d.State]}, {age(d.Since, now), plain}, {past(d.LastOK, now), plain}, {took, plain},
			{trouble(d.Error, d.ErrorAt, now), plain},
		})
	}
	return rows
}

func peerRows(s podstatus.Status, now time.Time) [][]cell {
	rows := [][]cell{head("PEER", "BY", "CONNECTED", "HOPS", "UNREAD", "INBOUND", "ADDRESS", "LAST ERROR")}
	for _, o := range s.Peers.List {
		connected := cell{"no", faint}
		switch {
		case o.Connected:
			connected = cell{age(o.Since, now), green}
		case o.Error != "":
			connected.colour = red
		}
		rows = append(rows, []cell{
			{o.Pod, plain}, {s.Peers.Carrier, plain}, connected, {strconv.Itoa(o.InFlight), plain}, {size(o.Unread), plain}, {strconv.Itoa(o.Inbound), plain},
			{orDash(o.Address), plain}, {trouble(o.Error, o.ErrorAt, now), plain},
		})
	}
	return rows
}

func tunnelRows(s podstatus.Status, now time.Time) [][]cell {
	rows := [][]cell{head("TUNNEL", "SLUG", "BY", "UP", "NOW", "TOTAL", "UNREAD", "FROM", "AGENT")}
	for _, t := range s.Tunnels.List {
		slug := cell{ansi.Truncate(terminal.Clean(t.Slug), maxNameColumns, "…"), plain}
		switch t.Slug {
		case "":
			slug = cell{"-", faint}
		case t.ID:
			slug = cell{"(same)", faint} // as ephemeral tunnels have it
		}
		rows = append(rows, []cell{
			{t.ID, plain}, slug, {t.Protocol, plain}, {age(t.Since, now), plain},
			{strconv.Itoa(t.InFlight), plain}, {strconv.FormatUint(t.Requests, 10), plain}, {size(t.Unread), plain},
			{t.Remote, plain}, {orDash(t.Agent), plain},
		})
	}
	return rows
}

// endRows paints what an operator may have to do something about.
func endRows(s podstatus.Status, most int, now time.Time) [][]cell {
	colours := map[string]colour{
		"lost": yellow, "heartbeat_lost": yellow, "silent": yellow, "protocol_error": red, "tunnel_revoked": red, "tunnel_expired": red,
	}
	rows := [][]cell{head("LINK ENDED", "TUNNEL", "BY", "REASON", "LASTED", "FROM", "DETAIL")}
	for _, l := range s.LinkEnds[:min(len(s.LinkEnds), most)] {
		rows = append(rows, []cell{
			{past(l.EndedAt, now), plain}, {l.Tunnel, plain}, {l.Protocol, plain}, {l.Reason, colours[l.Reason]},
			{about(seconds(l.Lasted)), plain}, {l.Remote, plain}, {orDash(l.Detail), plain},
		})
	}
	return rows
}

func head(names ...string) []cell {
	row := make([]cell, len(names))
	for i, name := range names {
		row[i] = cell{name, bold}
	}
	return row
}

func whyText(s podstatus.Status) string {
	if len(s.Pod.Why) == 0 {
		return s.Pod.Status
	}
	return s.Pod.Status + ", " + strings.Join(s.Pod.Why, ", ")
}

func trouble(text string, at, now time.Time) string {
	if text == "" {
		return "-"
	}
	return past(at, now) + ": " + text
}

// age is how long ago a moment was. Those of one document are taken one after
// the other, so one may seem to come.
func age(at, now time.Time) string {
	if at.IsZero() {
		return "-"
	}
	return about(max(now.Sub(at), 0))
}

// past is the same, in words.
func past(at, now time.Time) string {
	if at.IsZero() {
		return "-"
	}
	return age(at, now) + " ago"
}

func seconds(f float64) time.Duration { return time.Duration(f * float64(time.Second)) }

// size is bytes in the largest unit that leaves a number above 1: 64KiB.
func size(n int64) string {
	f, units := float64(n), []string{"B", "KiB", "MiB", "GiB", "TiB"}
	i := 0
	for f >= 999.5 && i < len(units)-1 {
		f, i = f/1024, i+1
	}
	if i == 0 || f >= 9.95 {
		return strconv.FormatFloat(f, 'f', 0, 64) + units[i]
	}
	return strconv.FormatFloat(f, 'f', 1, 64) + units[i]
}
