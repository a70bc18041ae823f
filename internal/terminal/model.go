package terminal

import (
	"slices"
	"time"

	tea "charm.land/bubbletea/v2"
)

// maxEntries is how many lines of the list are kept to scroll back to.
const maxEntries = 500

// gap is an entry of the list for what did not fit into the queue.
type gap struct{ n int64 }

// model is everything the screen shows. It changes in Update only, and reads
// no clock: time comes with the batches.
type model struct {
	version, target string
	stop            func()

	width, height int
	now, began    time.Time
	link          state
	info          Info   // of the last time the link was open
	reason        string // why it is not open now
	problem       string
	totals        totals

	entries  []event // Request, notice or gap, the newest last
	scroll   int     // entries below the last one in sight; 0 follows the newest
	stopping bool
}

func newModel(o Options, now time.Time) model {
	return model{
		version: o.Version, target: o.Target, stop: o.Stop,
		width: 80, height: 24, now: now, began: now, link: state{since: now},
	}
}

// Init implements tea.Model. There is nothing to start: batches arrive by Send.
func (m model) Init() tea.Cmd { return nil }

// Update implements tea.Model.
func (m model) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.width, m.height = msg.Width, msg.Height
	case tea.KeyPressMsg:
		return m.key(msg.String())
	case batch:
		m = m.add(msg)
	}
	m.scroll = m.clampScroll(m.scroll)
	return m, nil
}

func (m model) key(name string) (tea.Model, tea.Cmd) {
	page := max(m.listHeight()-1, 1)
	switch name {
	case "q", "ctrl+c":
		if m.stop == nil || m.stopping {
			return m, tea.Quit
		}
		m.stopping = true
		m.stop()
	case "c":
		m.entries, m.scroll = nil, 0
	case "up", "k":
		m.scroll++
	case "down", "j":
		m.scroll--
	case "pgup", "b":
		m.scroll += page
	case "pgdown", "space":
		m.scroll -= page
	case "home", "g":
		m.scroll = len(m.entries)
	case "end", "G":
		m.scroll = 0
	}
	m.scroll = m.clampScroll(m.scroll)
	return m, nil
}

func (m model) add(b batch) model {
	m.now, m.totals = b.now, b.totals
	before := len(m.entries)
	m.entries = slices.Clip(m.entries) // earlier models share the array
	for _, e := range b.events {
		switch e := e.(type) {
		case state:
			m.link = e
			switch e.kind {
			case online:
				m.info, m.reason = e.info, ""
			case offline: // stays in sight while the next try runs
				m.reason = e.reason
			}
		case targetState:
			m.problem = e.problem
		default:
			m.entries = append(m.entries, e)
		}
	}
	if b.dropped > 0 {
		m.entries = append(m.entries, gap{b.dropped})
	}
	if m.scroll > 0 { // who reads an older line keeps it in sight
		m.scroll += len(m.entries) - before
	}
	if n := len(m.entries) - maxEntries; n > 0 {
		m.entries = slices.Clone(m.entries[n:])
	}
	return m
}

func (m model) clampScroll(n int) int {
	return max(min(n, len(m.entries)-m.listHeight()), 0)
}
