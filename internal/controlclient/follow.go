package controlclient

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"time"

	"github.com/getbindu/bindu-edge/internal/tunnel"
)

// Silence is how long an event stream may say nothing, not even a comment,
// before it is given up.
const Silence = 45 * time.Second

// lasting is how long a stream must have stood for its loss to be the first one.
const lasting = 10 * time.Second

// Change is a hint that something of a tunnel is not what it was.
type Change struct {
	Tunnel  tunnel.ID
	Kind    string      // what the control plane calls it
	Slug    tunnel.Slug // may be empty
	OldSlug tunnel.Slug // the one before the change; may be empty
}

// Follower takes what the control plane's event stream says. It MUST NOT block.
type Follower interface {
	// Changed is told of each change, in order, possibly twice.
	Changed(Change)
	// Following is told when the stream stands, before the changes that it
	// brings, and again when changes were lost. With missed there may be some
	// that Changed was not told of.
	Following(missed bool)
}

// EventsOptions configure NewEvents. All are required.
type EventsOptions struct {
	Client   *Client
	Follower Follower
	Logger   *slog.Logger
}

// Events follows the control plane's events, if it offers any. Make it with
// NewEvents.
type Events struct {
	client   *Client
	follower Follower
	log      *slog.Logger

	stands bool   // the stream; Follower was told
	last   string // id of the last event; empty = none to go on from
	lost   bool   // the loss of the stream was told
	denied alarm
}

// NewEvents makes an Events. It asks nothing before Run.
func NewEvents(o EventsOptions) *Events {
	return &Events{client: o.Client, follower: o.Follower, log: o.Logger}
}

var (
	errNotOffered = errors.New("control plane does not offer this")
	errDenied     = errors.New("control plane denies this to our token")
)

// Run follows until ctx ends. It may be called once.
func (e *Events) Run(ctx context.Context) {
	var b backoff
	for {
		stood, err := e.follow(ctx)
		if ctx.Err() != nil {
			return
		}
		if stood >= lasting {
			b.reset()
		}
		wait := b.wait()
		switch {
		case errors.Is(err, errNotOffered):
			wait = around(askAgain)
			e.log.LogAttrs(ctx, slog.LevelDebug, "the control plane offers no events", slog.Any("error", err))
		case errors.Is(err, errDenied):
			e.denied.warn(ctx, e.log, "the control plane shows its events to nobody with our CONTROL_PLANE_TOKEN: what changes there takes effect with the next re-validation only", slog.Any("error", err))
		case !e.lost:
			e.lost = true
			e.log.LogAttrs(ctx, slog.LevelWarn, "the control plane's events can't be followed now: what changes there takes effect later", slog.Any("error", err))
		}
		if !pause(ctx, wait) {
			return
		}
	}
}

// follow reads one stream to its end, and says how long it stood.
func (e *Events) follow(ctx context.Context) (stood time.Duration, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silence := time.AfterFunc(e.client.timeout, func() { cancel(errSilent) })
	defer silence.Stop()
	asked := time.Now()
	body, err := e.open(ctx)
	if err != nil {
		err = said(ctx, err)
	}
	e.client.metrics.made(callEvents, asked, err)
	if err != nil {
		return 0, err
	}
	defer func() { _ = body.Close() }() // nothing left to lose
	began := time.Now()
	silence.Reset(Silence)
	e.stands = false
	events := newEventReader(hearing{body, func() { silence.Reset(Silence) }})
	for {
		got, err := events.next()
		if err == nil {
			err = e.take(got)
		}
		if err != nil {
			return time.Since(began), said(ctx, err)
		}
	}
}

var errSilent = fmt.Errorf("%w: it says nothing", ErrAway)

// said is why a stream has ended.
func said(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

// hearing tells of every byte.
type hearing struct {
	io.Reader
	heard func()
}

func (h hearing) Read(p []byte) (int, error) {
	n, err := h.Reader.Read(p)
	if n > 0 {
		h.heard()
	}
	return n, err
}

// open asks for the stream.
func (e *Events) open(ctx context.Context) (io.ReadCloser, error) {
	c := e.client
	req, err := c.request(ctx, http.MethodGet, c.base.JoinPath("api/events"), nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "text/event-stream")
	req.Header.Set("Cache-Control", "no-store")
	if e.last != "" {
		req.Header.Set("Last-Event-ID", e.last)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.away(ctx, err, "")
	}
	err = offered(resp.StatusCode)
	if kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")); err == nil && kind != "text/event-stream" {
		err = fmt.Errorf("%w: its answer is no event stream", errNotOffered)
	}
	if err != nil {
		drain(resp)
		_ = resp.Body.Close()
		if errors.Is(err, ErrNonsense) {
			e.last = "" // it may be that
		}
		return nil, err
	}
	return resp.Body, nil
}

// offered says what a status means for a call that not every control plane has.
func offered(status int) error {
	switch {
	case status/100 == 2:
		return nil
	case status == http.StatusNotFound || status == http.StatusMethodNotAllowed || status == http.StatusNotImplemented:
		return fmt.Errorf("%w: status %d", errNotOffered, status)
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		return fmt.Errorf("%w: status %d", errDenied, status)
	case status >= 500 || status == http.StatusTooManyRequests:
		return fmt.Errorf("%w: status %d", ErrAway, status)
	default:
		return nonsense(fmt.Sprintf("status %d", status))
	}
}

// take does what one event says.
func (e *Events) take(got event) error {
	resumed := e.last != ""
	if !e.stands || got.name == "gap" {
		e.stand(!resumed || got.name == "gap")
	}
	switch got.name {
	case "hello":
		if !resumed { // else what was missed comes now, and is not over
			e.remember(got.id)
		}
	case "gap":
		e.remember(got.id)
	case "tunnel":
		change, err := readChange(got.data)
		if err != nil {
			e.last = "" // the next stream begins with everything
			return err
		}
		e.follower.Changed(change)
		e.remember(got.id)
	}
	return nil
}

func (e *Events) stand(missed bool) {
	e.stands = true
	if e.lost {
		e.lost = false
		e.log.Info("the control plane's events are followed again")
	}
	e.follower.Following(missed)
}

// maxEventID bounds an event's id, in bytes.
const maxEventID = 256

func (e *Events) remember(id string) {
	if id != "" && len(id) <= maxEventID && printable(id) {
		e.last = id
	}
}

func readChange(data string) (Change, error) {
	o, err := readObject([]byte(data))
	if err != nil {
		return Change{}, err
	}
	id, err := field[string](o, "tunnel_id")
	if err != nil {
		return Change{}, err
	}
	c := Change{Tunnel: tunnel.ID(id)}
	if _, err := tunnel.ParseID(id); err != nil {
		return Change{}, nonsense(`"tunnel_id" is none`)
	}
	if o.has("kind") {
		if c.Kind, err = field[string](o, "kind"); err != nil {
			return Change{}, err
		}
	}
	if c.Slug, err = o.slug("slug"); err != nil {
		return Change{}, err
	}
	c.OldSlug, err = o.slug("old_slug")
	return c, err
}
