package web

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"net/http"
	"strconv"

	"github.com/getbindu/bindu-edge/internal/control"
	"github.com/getbindu/bindu-edge/internal/fault"
	"github.com/getbindu/bindu-edge/internal/tunnel"
)

// refusal is an error that is told as it is.
type refusal struct {
	status int
	title  string
	detail string
}

func (e *refusal) Error() string { return e.title + ": " + e.detail }

// failedView is what a page says in place of what was asked for.
type failedView struct {
	Status    int
	Title     string
	Detail    string
	RequestID string // of what we have logged
	Again     bool   // the same may work later
}

// explain makes of an error what people can do something with.
func explain(err error) failedView {
	told := func(status int, title, detail string) failedView {
		return failedView{Status: status, Title: title, Detail: detail, Again: status == http.StatusServiceUnavailable}
	}
	if e, ok := errors.AsType[*refusal](err); ok {
		return told(e.status, e.title, e.detail)
	}
	if e, ok := errors.AsType[*control.FieldError](err); ok {
		return told(http.StatusUnprocessableEntity, "That can't be", e.Field+" "+e.Detail+".")
	}
	if e, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return told(http.StatusRequestEntityTooLarge, "Too much", "A form may have "+strconv.FormatInt(e.Limit>>10, 10)+" KiB.")
	}
	switch {
	case errors.Is(err, tunnel.ErrUnknown):
		return told(http.StatusNotFound, "No such tunnel", "It was deleted, or there never was one with this id.")
	case errors.Is(err, control.ErrMissing):
		return told(http.StatusNotFound, "No such key", "There is no API key with this id.")
	case errors.Is(err, control.ErrLastAdmin):
		return told(http.StatusConflict, "The last admin key", "It can't be revoked: nobody could make another.")
	case errors.Is(err, control.ErrUnauthorized):
		return told(http.StatusForbidden, "No longer a key", "The API key behind this was revoked.")
	case errors.Is(err, control.ErrFull):
		return told(http.StatusServiceUnavailable, "No room", "The control plane has no room for more. Nothing was changed.")
	case errors.Is(err, control.ErrAway), errors.Is(err, context.DeadlineExceeded):
		return told(http.StatusServiceUnavailable, "The database does not answer", "Tunnels that are connected stay connected. Try again in a moment.")
	default:
		return told(http.StatusInternalServerError, "Something went wrong", "It was written to the control plane's log.")
	}
}

// fail is the one place where an error becomes a page. v is nil when nobody is
// known to be signed in.
func (s *Site) fail(w http.ResponseWriter, r *http.Request, v *visit, err error) {
	view := explain(err)
	if view.Status >= http.StatusInternalServerError && r.Context().Err() == nil {
		view.RequestID = rand.Text()
		s.logger.LogAttrs(r.Context(), slog.LevelError, "page failed",
			slog.String("request_id", view.RequestID), slog.String("path", r.URL.Path), slog.Any("error", err))
	}
	f := frame{Title: view.Title, Body: view}
	if v != nil {
		f.Who = v.shown()
	}
	s.render(w, r, view.Status, "failed", f)
}

// nowhere answers what is at no path of ours: a page for people, and for
// programs the error that the control plane's other paths have.
func (s *Site) nowhere(w http.ResponseWriter, r *http.Request) {
	if !fault.IsNavigation(r) {
		w.Header().Set("X-Request-Id", rand.Text())
		fault.Write(w, r, fault.New(fault.NotFound, "The control plane has nothing at this path."))
		return
	}
	var v *visit
	if id, digest, ok := s.sessions.find(r); ok {
		if key, err := s.plane.AuthenticateDigest(r.Context(), digest); err == nil {
			v = &visit{id: id, key: key}
		}
	}
	s.fail(w, r, v, &refusal{http.StatusNotFound, "Nothing here", "There is no page at this address."})
}
