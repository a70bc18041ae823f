package api

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/getbindu/bindu-edge/internal/control"
	"github.com/getbindu/bindu-edge/internal/fault"
	"github.com/getbindu/bindu-edge/internal/tunnel"
)

// conflict is the one code that edges have no use for: a slug that is taken, a
// key that is needed. docs/control-plane.md explains it.
const conflict fault.Code = "conflict"

const (
	typeBase     = "https://github.com/getbindu/bindu-edge/blob/main/docs/errors.md#"
	conflictType = "https://github.com/getbindu/bindu-edge/blob/main/docs/control-plane.md#errors"
)

// problem is the body of every error (RFC 9457): the members that the edge's
// errors have too, and which fields were wrong.
type problem struct {
	Type      string       `json:"type" format:"uri" doc:"Where the code is explained."`
	Title     string       `json:"title" doc:"The same for every error with this code."`
	Status    int          `json:"status"`
	Detail    string       `json:"detail" doc:"What happened, for people."`
	Code      fault.Code   `json:"code" doc:"One word for programs, also in the header Bindu-Edge-Error."`
	RequestID string       `json:"request_id" doc:"Also in the header X-Request-Id, and in the log of the control plane."`
	Retryable bool         `json:"retryable" doc:"The same request may succeed later."`
	Errors    []fieldError `json:"errors,omitempty" nullable:"false" doc:"What of the request was wrong."`

	header http.Header
}

type fieldError struct {
	Location string `json:"location" doc:"body.limits.rps, query.limit, path.tunnel_id or header.Idempotency-Key."`
	Message  string `json:"message"`
}

// GetStatus, Error, GetHeaders and ContentType are what huma asks of an error.
func (p *problem) GetStatus() int          { return p.Status }
func (p *problem) Error() string           { return string(p.Code) + ": " + p.Detail }
func (p *problem) GetHeaders() http.Header { return p.header }
func (p *problem) ContentType(string) string {
	return "application/problem+json"
}

// problem says what an error is to the caller. It is the one place where a
// status is chosen, but for what huma refuses by itself; see transform.
func (a *API) problem(ctx context.Context, path string, err error) *problem {
	e, status, fields := classify(err)
	if e.Code == fault.Internal && ctx.Err() == nil {
		a.logger.LogAttrs(ctx, slog.LevelError, "control plane request failed", slog.String("path", path), slog.Any("error", err))
	}
	p := newProblem(e.Code, status, e.Detail, fields)
	p.header = make(http.Header)
	for name, values := range e.Header {
		p.header[name] = values
	}
	if wait := e.Retry(); wait > 0 {
		p.header.Set("Retry-After", fault.RetryAfter(wait))
	}
	return p
}

func newProblem(code fault.Code, status int, detail string, fields []fieldError) *problem {
	p := &problem{
		Type: typeBase + string(code), Title: code.Title(), Status: status, Detail: detail,
		Code: code, Retryable: code.Retryable(), Errors: fields,
	}
	if code == conflict {
		p.Type, p.Title = conflictType, "In conflict with what there is"
	}
	if p.Detail == "" {
		p.Detail = p.Title + "."
	}
	return p
}

func classify(err error) (e *fault.Error, status int, fields []fieldError) {
	if wrong := control.FieldErrors(err); len(wrong) > 0 {
		for _, field := range wrong[:min(len(wrong), maxFieldErrors)] {
			fields = append(fields, fieldError{location(field.Field), field.Detail})
		}
		if errors.Is(err, control.ErrTaken) {
			fields = append(fields, fieldError{"body.slug", "is taken"})
		}
		return fault.New(fault.BadRequest, "The request has a value that can't be."), http.StatusUnprocessableEntity, fields
	}
	switch {
	case errors.Is(err, tunnel.ErrUnknown):
		e = fault.New(fault.TunnelNotFound, "No tunnel has this id.")
	case errors.Is(err, control.ErrMissing):
		e = fault.New(fault.NotFound, "There is nothing with this id.")
	case errors.Is(err, control.ErrTaken):
		return &fault.Error{Code: conflict, Detail: "The slug is taken, or held back because it was another tunnel's."},
			http.StatusConflict, []fieldError{{"body.slug", "is taken"}}
	case errors.Is(err, control.ErrLastAdmin):
		return &fault.Error{Code: conflict, Detail: "The last admin key can't be revoked: nobody could make another."}, http.StatusConflict, nil
	case errors.Is(err, control.ErrReused):
		return fault.New(fault.BadRequest, "This Idempotency-Key was used for another request."), http.StatusUnprocessableEntity,
			[]fieldError{{"header.Idempotency-Key", "was used for another request"}}
	case errors.Is(err, control.ErrAway):
		e = fault.New(fault.ControlPlaneUnavailable, "The control plane's database does not answer.")
	case errors.Is(err, control.ErrFull):
		e = fault.New(fault.ControlPlaneUnavailable, "The control plane has no room for more; nothing was changed.")
	default:
		e = fault.From(err)
	}
	if status = e.Status; status == 0 {
		status = e.Code.Status()
	}
	return e, status, nil
}

// location is where a field of package control is in the request.
func location(field string) string {
	switch field {
	case "Idempotency-Key":
		return "header." + field
	case "search", "connected", "cursor", "target", "before", "limit", "after":
		return "query." + field
	case "Last-Event-ID":
		return "header." + field
	}
	return "body." + field
}

// fail writes an error where no call of huma's does.
func (a *API) fail(w http.ResponseWriter, r *http.Request, err error) {
	p := a.problem(r.Context(), r.URL.Path, err)
	h := w.Header()
	for name, values := range p.header {
		h[name] = values
	}
	p.stamp(h.Get("X-Request-Id"), h.Set)
	text, _ := json.Marshal(p) // strings, numbers and booleans can't fail
	h.Set("Content-Type", p.ContentType(""))
	h.Set("Content-Length", strconv.Itoa(len(text)+1))
	w.WriteHeader(p.Status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(append(text, '\n')) // the caller may be gone, and then nobody is left to tell
	}
}

func (p *problem) stamp(requestID string, set func(name, value string)) {
	p.RequestID = requestID
	set(fault.HeaderError, string(p.Code))
}

// codes of what huma refuses by itself: a body or parameter that is not as the
// document says.
var codes = map[int]fault.Code{
	http.StatusRequestEntityTooLarge: fault.RequestTooLarge,
	http.StatusInternalServerError:   fault.Internal,
}

// transform makes huma's errors ours. What they quote of the request is left
// out: it may be a secret.
func transform(ctx huma.Context, _ string, v any) (any, error) {
	p, ok := v.(*problem)
	if model, is := v.(*huma.ErrorModel); is {
		code, known := codes[model.Status]
		if !known {
			code = fault.BadRequest
		}
		var fields []fieldError
		for _, e := range model.Errors[:min(len(model.Errors), maxFieldErrors)] {
			fields = append(fields, fieldError{clip(e.Location), clip(e.Message)})
		}
		detail := sentence(model.Detail)
		if model.Status == http.StatusUnsupportedMediaType {
			detail = "The body must be JSON, and say so: Content-Type: application/json."
		}
		p, ok = newProblem(code, model.Status, detail, fields), true
	}
	if ok {
		_, w := humago.Unwrap(ctx)
		p.stamp(w.Header().Get("X-Request-Id"), ctx.SetHeader)
		return p, nil
	}
	return v, nil
}

const (
	maxFieldErrors = 20
	maxMessage     = 200 // bytes
)

func clip(text string) string {
	if len(text) <= maxMessage {
		return text
	}
	return strings.ToValidUTF8(text[:maxMessage], "") + "…"
}

func sentence(text string) string {
	if text == "" {
		return text
	}
	return strings.ToUpper(text[:1]) + strings.TrimSuffix(text[1:], ".") + "."
}
