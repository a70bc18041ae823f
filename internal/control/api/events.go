package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"strconv"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/getbindu/bindu-edge/internal/control"
	"github.com/getbindu/bindu-edge/internal/fault"
	"github.com/getbindu/bindu-edge/internal/tunnel"
)

const eventsPath = "/api/events"

const (
	// silence is the longest that a stream says nothing. As often a comment shows
	// both ends that the other is there, and the key is looked at again.
	silence = 15 * time.Second

	// stall is how long a reader may take nothing. It is then cut, and comes back
	// for what it missed: nothing is kept for it but the database's events.
	stall = 10 * time.Second
)

var errEnding = fault.New(fault.ControlPlaneUnavailable, "The control plane is shutting down.")

// change is the data of `event: tunnel`.
type change struct {
	Tunnel tunnel.ID         `json:"tunnel_id"`
	Kind   control.EventKind `json:"kind" enum:"created,changed,moved,rotated,revoked,restored,deleted"`
	Slug   tunnel.Slug       `json:"slug" doc:"After the change."`
	Old    tunnel.Slug       `json:"old_slug,omitempty" doc:"Of moved: the slug before."`
}

func (a *API) eventCalls() {
	integer := &huma.Schema{Type: huma.TypeInteger, Format: "int64", Minimum: new(float64)}
	a.huma.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[change](), true, "")
	a.huma.OpenAPI().AddOperation(&huma.Operation{
		OperationID: "follow-events", Method: http.MethodGet, Path: eventsPath, Tags: []string{"edges"},
		Summary: "Follow every change of a tunnel, as server-sent events",
		Description: "The first event is `hello`: its id is where the stream begins, the newest change or the one that Last-Event-ID names. " +
			"Then, for each change, `id: N`, `event: tunnel` and a JSON object (the schema Change). `event: gap` means that changes were lost, since events are kept for 24 hours and no more than 10,000: " +
			"read everything anew, the stream goes on after the gap's id. A comment comes at least every 15 seconds. Events say that something changed, not what: ask validate or resolve.",
		Security: []map[string][]string{{"key": {}}},
		Parameters: []*huma.Param{
			{Name: "Last-Event-ID", In: "header", Description: "Go on after this event.", Schema: integer},
			{Name: "after", In: "query", Description: "The same, for clients that can't set the header, which wins.", Schema: integer},
		},
		Responses: map[string]*huma.Response{
			"200":     {Description: "The stream.", Content: map[string]*huma.MediaType{"text/event-stream": {Schema: &huma.Schema{Type: huma.TypeString}}}},
			"default": a.problemResponse(),
		},
	})
	a.mux.HandleFunc("GET "+eventsPath, func(w http.ResponseWriter, r *http.Request) {
		if err := a.events(w, r); err != nil {
			a.fail(w, r, err)
		}
	})
}

// events answers with a stream; its error is one from before the stream.
func (a *API) events(w http.ResponseWriter, r *http.Request) error {
	c, err := a.authorize(r, control.MayServe)
	if err != nil {
		return err
	}
	after, resumed, err := position(r)
	if err != nil {
		return err
	}
	select {
	case <-a.draining:
		return errEnding
	default:
	}
	select {
	case a.streams <- struct{}{}:
		defer func() { <-a.streams }()
	default:
		return fault.New(fault.ControlPlaneUnavailable, "Too many event streams are open.")
	}
	ctx, cancel := context.WithCancel(r.Context())
	var watching sync.WaitGroup
	defer watching.Wait()
	defer cancel()
	watching.Go(func() {
		select {
		case <-a.draining:
			cancel()
		case <-ctx.Done():
		}
	})
	if !resumed {
		if after, err = a.plane.LastEvent(ctx); err != nil {
			if ctx.Err() != nil {
				err = errEnding
			}
			return err
		}
	}
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("X-Accel-Buffering", "no") // nginx: pass each event on at once
	w.WriteHeader(http.StatusOK)
	if r.Method == http.MethodHead {
		return nil
	}
	s := &stream{w: w, control: http.NewResponseController(w)}
	// The server's deadline for reading a request would end the stream.
	s.err = s.control.SetReadDeadline(time.Time{})
	s.event(after, "hello", "{}")
	a.follow(ctx, c, s, after)
	return nil
}

// follow writes changes until the reader leaves or is cut, the key is revoked,
// the store is away or the control plane ends.
func (a *API) follow(ctx context.Context, c caller, s *stream, after int64) {
	// However much there is to say: else a revoked key would hear of it as long as
	// there is.
	look := time.Now().Add(silence)
	for s.flush() == nil {
		waiting, cancel := context.WithDeadline(ctx, look)
		events, err := a.plane.AwaitEvents(waiting, after)
		cancel()
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			for _, e := range events {
				text, _ := json.Marshal(change{e.Tunnel, e.Kind, e.Slug, e.Old}) // strings can't fail
				s.event(e.ID, "tunnel", string(text))
				after = e.ID
			}
		case errors.Is(err, control.ErrGap):
			if after, err = a.plane.LastEvent(ctx); err != nil {
				return
			}
			s.event(after, "gap", "{}")
		case errors.Is(err, context.DeadlineExceeded):
			if _, err := a.plane.Authenticate(ctx, c.secret); errors.Is(err, control.ErrUnauthorized) {
				return
			}
			s.comment()
			look = time.Now().Add(silence)
		default:
			return
		}
	}
}

// position is where the reader wants to go on.
func position(r *http.Request) (after int64, resumed bool, err error) {
	field, text := "Last-Event-ID", r.Header.Get("Last-Event-ID")
	if text == "" {
		field, text = "after", r.URL.Query().Get("after")
	}
	if text == "" {
		return 0, false, nil
	}
	after, err = strconv.ParseInt(text, 10, 64)
	if err != nil || after < 0 {
		return 0, false, &control.FieldError{Field: field, Detail: "must be the id of an event"}
	}
	return after, true, nil
}

// stream writes server-sent events. What it writes goes to the connection or
// fails; after the first failure nothing is written any more.
type stream struct {
	w       http.ResponseWriter
	control *http.ResponseController
	err     error
}

func (s *stream) event(id int64, name, data string) {
	s.write(fmt.Sprintf("id: %d\nevent: %s\ndata: %s\n\n", id, name, data))
}

func (s *stream) comment() { s.write(":\n\n") }

func (s *stream) write(text string) {
	if s.err != nil {
		return
	}
	if s.err = s.control.SetWriteDeadline(time.Now().Add(stall)); s.err == nil {
		_, s.err = s.w.Write([]byte(text))
	}
}

func (s *stream) flush() error {
	if s.err == nil {
		s.err = s.control.Flush()
	}
	return s.err
}
