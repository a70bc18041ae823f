package terminal

import (
	"fmt"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
)

func press(m model, keys ...string) (model, tea.Cmd) {
	var cmd tea.Cmd
	for _, name := range keys {
		var key tea.KeyPressMsg
		switch name {
		case "ctrl+c":
			key = tea.KeyPressMsg{Code: 'c', Mod: tea.ModCtrl}
		case "up":
			key = tea.KeyPressMsg{Code: tea.KeyUp}
		case "pgup":
			key = tea.KeyPressMsg{Code: tea.KeyPgUp}
		case "home":
			key = tea.KeyPressMsg{Code: tea.KeyHome}
		case "end":
			key = tea.KeyPressMsg{Code: tea.KeyEnd}
		default:
			key = tea.KeyPressMsg{Code: rune(name[0]), Text: name}
		}
		var next tea.Model
		next, cmd = m.Update(key)
		m = next.(model)
	}
	return m, cmd
}

func numbered(from, n int) []event {
	var list []event
	for i := range n {
		list = append(list, Request{Time: noon, Method: "GET", Path: fmt.Sprintf("/%d", from+i), Status: 200})
	}
	return list
}

func TestQuit(t *testing.T) {
	stops := 0
	stop := func() { stops++ }
	tests := []struct {
		name      string
		stop      func()
		keys      []string
		wantStops int
		wantQuit  bool
	}{
		{"q asks to stop", stop, []string{"q"}, 1, false},
		{"ctrl+c asks to stop", stop, []string{"ctrl+c"}, 1, false},
		{"asking twice leaves", stop, []string{"ctrl+c", "ctrl+c"}, 1, true},
		{"nobody to ask", nil, []string{"q"}, 0, true},
		{"another key", stop, []string{"x"}, 0, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			stops = 0
			m, cmd := press(newModel(Options{Stop: tt.stop}, noon), tt.keys...)
			if stops != tt.wantStops {
				t.Errorf("asked %d times, want %d", stops, tt.wantStops)
			}
			quit := false
			if cmd != nil {
				_, quit = cmd().(tea.QuitMsg)
			}
			if quit != tt.wantQuit {
				t.Errorf("quit %v, want %v", quit, tt.wantQuit)
			}
			if got := strings.Contains(text(m.screen()), "stopping"); got != (tt.wantStops > 0) {
				t.Errorf("stopping shown: %v", got)
			}
		})
	}
}

func TestEntriesAreBounded(t *testing.T) {
	m := newModel(Options{}, noon)
	for i := range 30 {
		m = m.add(batch{now: noon, events: numbered(i*100, 100)})
	}
	if got := len(m.entries); got != maxEntries {
		t.Fatalf("%d entries, want %d", got, maxEntries)
	}
	if got := m.entries[maxEntries-1].(Request).Path; got != "/2999" {
		t.Errorf("the last is %s, want the newest", got)
	}
}

func TestScroll(t *testing.T) {
	start := sized(newModel(Options{}, noon), 80, 20).add(batch{now: noon, events: numbered(0, 100)})
	last := func(m model) string {
		rows := m.list(m.listHeight())
		return strings.Fields(text(rows[len(rows)-1:]))[2]
	}
	tests := []struct {
		name  string
		keys  []string
		after int // requests that come later
		want  string
	}{
		{"follows the newest", nil, 5, "/104"},
		{"up", []string{"up", "up"}, 0, "/97"},
		{"stays where it was", []string{"up", "up"}, 5, "/97"},
		{"back to the end", []string{"up", "end"}, 5, "/104"},
		{"no further than the end", []string{"j"}, 0, "/99"},
		{"no further than the first", []string{"home", "up", "pgup"}, 0, fmt.Sprintf("/%d", start.listHeight()-1)},
		{"a page", []string{"pgup"}, 0, fmt.Sprintf("/%d", 100-start.listHeight())},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m, _ := press(start, tt.keys...)
			m = m.add(batch{now: noon, events: numbered(100, tt.after)})
			if got := last(m); got != tt.want {
				t.Errorf("the last line shows %s, want %s", got, tt.want)
			}
		})
	}
}

func TestClearKeepsCounting(t *testing.T) {
	m, _ := press(busy(), "c")
	if len(m.entries) != 0 {
		t.Errorf("%d entries are left", len(m.entries))
	}
	if got := text(m.screen()); !strings.Contains(got, "1204 requests") || strings.Contains(got, "/message") {
		t.Errorf("after clearing:\n%s", got)
	}
}

func TestStatusLine(t *testing.T) {
	tests := []struct {
		name  string
		input state
		want  string
	}{
		{"connecting", state{kind: connecting}, "○ connecting"},
		{"online", state{kind: online, since: noon}, "● online 10s"},
		{"waiting", state{kind: offline, since: noon, retryIn: 15 * time.Second}, "○ reconnecting in 5s"},
		{"overdue", state{kind: offline, since: noon, retryIn: 5 * time.Second}, "○ reconnecting in 1s"},
		{"for good", state{kind: offline, since: noon, reason: "revoked"}, "● offline"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := newModel(Options{}, noon).add(batch{now: noon.Add(10 * time.Second), events: []event{tt.input}})
			if got := text(m.screen()); !strings.Contains(got, tt.want+"\n") {
				t.Errorf("%q is not on\n%s", tt.want, got)
			}
		})
	}
}

// The reason stays in sight while the next try runs, and goes with its success.
func TestReasonStaysUntilOnline(t *testing.T) {
	m := newModel(Options{}, noon).add(batch{now: noon, events: []event{
		state{kind: offline, reason: "no route to host", retryIn: time.Second}, state{kind: connecting},
	}})
	if got := text(m.screen()); !strings.Contains(got, "! no route to host") {
		t.Errorf("the reason is gone from\n%s", got)
	}
	m = m.add(batch{now: noon, events: []event{state{kind: online, since: noon}}})
	if got := text(m.screen()); strings.Contains(got, "no route") {
		t.Errorf("the reason is still on\n%s", got)
	}
}
