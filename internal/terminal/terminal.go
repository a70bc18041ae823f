// Package terminal shows a developer what their tunnel is doing: its state,
// its URL, and a line for each request. On a terminal that is a screen that
// keeps itself up to date; anywhere else it is plain lines, one an event, that
// stay the same from release to release so that scripts can search them.
//
// It decides only how things look. It never touches a request, never logs, and
// never makes the agent wait: events go into a bounded queue, and what does not
// fit is counted and shown as "… 12 not shown".
//
// Paths, methods and error texts come from strangers and are hostile: every
// text passes [Clean] before it is kept.
package terminal

import (
	"context"
	"io"
	"log/slog"
	"os"
	"sync/atomic"
	"time"

	"github.com/charmbracelet/x/term"
)

// Longest texts that are kept, in bytes. Requests are kept by the hundred.
const (
	maxPath   = 1024
	maxMethod = 32
	maxText   = 1024
	maxNext   = 8 // commands of Info
)

// Options configure a Display.
type Options struct {
	Out io.Writer // where everything goes; nothing else should write there while Run runs
	In  io.Reader // keys, for a screen; nil for a screen without keys

	// Screen asks for the screen instead of plain lines. Use [Interactive] to
	// find out whether that is sensible.
	Screen bool

	// Stop is called once when the user asks to end, from within the display:
	// it must return at once, like a context's cancel function. Without it, q
	// and Ctrl-C only end Run.
	Stop func()

	Version string   // of this program
	Target  string   // what the tunnel leads to, as the user thinks of it
	Environ []string // for TERM, NO_COLOR and their kin; the process's own when nil
}

// Info is what is known once the tunnel is open.
type Info struct {
	URL  string   // public URL
	Page string   // where its control plane's page is, which may sign in who opens it
	Note string   // a remark to keep in sight, such as who can reach the URL
	Next []string // commands the user may want next, one a line; at most 8 are shown
}

// Request is one finished request.
type Request struct {
	Time     time.Time // when it came, in the zone to show
	Method   string
	Path     string        // as the caller sent it; keep queries out if they may hold secrets
	Status   int           // 0 when there was no answer
	Duration time.Duration // until the last byte
	BytesIn  int64         // of the request's body
	BytesOut int64         // of the answer's body
	Err      string        // what went wrong on this side, in a few words
}

// failed reports whether the person at the screen may have something to mend:
// a 404 is the caller's business.
func (r Request) failed() bool { return r.Err != "" || r.Status >= 500 || r.Status <= 0 }

// Display is the status display. Its methods may be called from any goroutine,
// before, while and after Run runs, and never block.
type Display struct {
	opts    Options
	inbox   inbox
	started atomic.Int64
	ended   atomic.Int64
	failed  atomic.Int64
	out     atomic.Int64
}

// New makes a Display. It writes nothing before Run.
func New(o Options) *Display {
	if o.Environ == nil {
		o.Environ = os.Environ()
	}
	o.Version, o.Target = clip(o.Version, maxText), clip(o.Target, maxText)
	return &Display{opts: o, inbox: inbox{wake: make(chan struct{}, 1)}}
}

// Interactive reports whether a screen can be shown: both files are terminals,
// and TERM does not say that this one understands nothing.
func Interactive(in, out *os.File) bool {
	return os.Getenv("TERM") != "dumb" && term.IsTerminal(in.Fd()) && term.IsTerminal(out.Fd())
}

// Run shows the display until ctx ends, and returns nil then. On a screen it
// also returns nil when the user asks to leave: at once without Options.Stop,
// else at the second time of asking, so that the goodbye can be watched. It
// leaves the last state and a summary behind. Any error is one of writing to
// Out or reading from In; a write that blocks blocks Run, but nobody else.
func (d *Display) Run(ctx context.Context) error {
	if d.opts.Screen {
		return d.runScreen(ctx)
	}
	return d.runPlain(ctx)
}

// Connecting says that the agent is trying to open its link.
func (d *Display) Connecting() { d.inbox.put(state{kind: connecting}) }

// Linked says that the tunnel is open.
func (d *Display) Linked(i Info) {
	s := state{kind: online, info: Info{URL: clip(i.URL, maxText), Page: clip(i.Page, maxText), Note: clip(i.Note, maxText)}}
	for _, command := range i.Next[:min(len(i.Next), maxNext)] {
		s.info.Next = append(s.info.Next, clip(command, maxText))
	}
	d.inbox.put(s)
}

// Offline says that the link is gone and why. The next try comes after
// retryIn; 0 means that there will be none.
func (d *Display) Offline(reason string, retryIn time.Duration) {
	d.inbox.put(state{kind: offline, reason: clip(reason, maxText), retryIn: max(retryIn, 0)})
}

// Target says what is wrong with the local service, such as nothing listening
// there; "" when all is well again. It is kept in sight beside the target.
func (d *Display) Target(problem string) {
	d.inbox.put(targetState{problem: clip(problem, maxText)})
}

// Started counts a request as in flight until Request is called for it. Call
// it for every request or for none.
func (d *Display) Started() {
	d.started.Add(1)
	d.inbox.ring()
}

// Request shows a finished request.
func (d *Display) Request(r Request) {
	d.ended.Add(1)
	if r.failed() {
		d.failed.Add(1)
	}
	d.out.Add(max(r.BytesOut, 0))
	r.Method, r.Path, r.Err = cleanWord(r.Method, maxMethod), cleanWord(r.Path, maxPath), clip(r.Err, maxText)
	d.inbox.put(r)
}

// Notice shows a remark among the requests.
func (d *Display) Notice(level slog.Level, text string) {
	d.inbox.put(notice{time: time.Now(), level: level, text: clip(text, maxText)})
}

func (d *Display) totals() totals {
	t := totals{requests: d.ended.Load(), failed: d.failed.Load(), bytesOut: d.out.Load()}
	t.inFlight = max(d.started.Load()-t.requests, 0)
	return t
}
