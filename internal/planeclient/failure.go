package planeclient

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Error is a refusal by the control plane.
type Error struct {
	Status     int
	Code       string // one word: tunnel_not_found, unauthorized, conflict, …
	Detail     string // for people
	Fields     []FieldError
	RetryAfter time.Duration // 0 = not told
}

// FieldError is a part of the question that was wrong.
type FieldError struct {
	Location string `json:"location"` // body.limits.rps, query.limit, …
	Message  string `json:"message"`
}

func (e *Error) Error() string {
	text := e.Detail
	if text == "" {
		text = e.Code
	}
	for _, f := range e.Fields {
		text += " " + f.Location + " " + f.Message + "."
	}
	return text
}

// IsMissing reports whether err says that there is no such tunnel or key.
func IsMissing(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.Status == http.StatusNotFound
}

// AwayError is a control plane that gave no answer, or could not.
type AwayError struct {
	Lost bool // what was asked for may have been done all the same
	Err  error
}

func (e *AwayError) Error() string { return "the control plane gave no answer: " + e.Err.Error() }
func (e *AwayError) Unwrap() error { return e.Err }

// ForeignError is an answer that no control plane of ours gives: most likely
// the URL is wrong.
type ForeignError struct {
	Status int
	Reason string
}

func (e *ForeignError) Error() string {
	return fmt.Sprintf("not a control plane's answer (%d %s): %s", e.Status, http.StatusText(e.Status), e.Reason)
}

// reason cuts from an error of net/http what its reader knows already.
func reason(err error, timeout time.Duration) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("nothing within %s: %w", timeout, context.DeadlineExceeded)
	}
	if e, ok := errors.AsType[*url.Error](err); ok {
		return e.Err
	}
	return err
}

const maxShown = 300 // bytes of a text from an answer

func clip(text string) string {
	if len(text) <= maxShown {
		return text
	}
	cut := maxShown
	for !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut] + "…"
}

// failure reads an answer that is no success: problem details (RFC 9457) with
// our code, or something else's.
func failure(res *http.Response, text []byte) error {
	var p struct {
		Code   string       `json:"code"`
		Detail string       `json:"detail"`
		Errors []FieldError `json:"errors"`
	}
	ours := strings.HasPrefix(res.Header.Get("Content-Type"), "application/problem+json") &&
		json.Unmarshal(text, &p) == nil && p.Code != ""
	switch {
	case res.StatusCode == http.StatusBadGateway || res.StatusCode == http.StatusServiceUnavailable || res.StatusCode == http.StatusGatewayTimeout:
		cause := fmt.Errorf("%d %s", res.StatusCode, http.StatusText(res.StatusCode))
		if ours && p.Detail != "" {
			cause = errors.New(clip(p.Detail))
		}
		return &AwayError{Err: cause}
	case ours:
		e := &Error{Status: res.StatusCode, Code: clip(p.Code), Detail: clip(p.Detail)}
		for _, f := range p.Errors[:min(len(p.Errors), 20)] {
			e.Fields = append(e.Fields, FieldError{clip(f.Location), clip(f.Message)})
		}
		if seconds, err := strconv.Atoi(res.Header.Get("Retry-After")); err == nil && seconds > 0 && seconds < 1<<20 {
			e.RetryAfter = time.Duration(seconds) * time.Second
		}
		return e
	case res.StatusCode >= 300 && res.StatusCode < 400:
		return &ForeignError{Status: res.StatusCode, Reason: "it leads elsewhere, to " + clip(res.Header.Get("Location"))}
	}
	return &ForeignError{Status: res.StatusCode, Reason: "no error of ours"}
}
