// Package fault is the one vocabulary of errors that leave the edge. A Code is
// the same word in a problem+json body, in the Bindu-Edge-Error header, in log
// events, in metrics and in the close reason of a WebSocket. An error without
// a code is internal: it is logged whole and shown as a request id only.
package fault

import (
	"errors"
	"net/http"
	"time"
)

// Code names one kind of failure. The list is closed.
type Code string

// The codes. 503 and 429 mean that the agent was never handed the request; 502
// and 504 that it may have been.
const (
	TunnelNotFound          Code = "tunnel_not_found"
	NotFound                Code = "not_found"
	TunnelExpired           Code = "tunnel_expired"
	TunnelRevoked           Code = "tunnel_revoked"
	TunnelOffline           Code = "tunnel_offline"
	ControlPlaneUnavailable Code = "control_plane_unavailable"
	RegistryUnavailable     Code = "registry_unavailable"
	RelayUnavailable        Code = "relay_unavailable"
	Unauthorized            Code = "unauthorized"
	Forbidden               Code = "forbidden"
	MethodNotAllowed        Code = "method_not_allowed"
	RequestTooLarge         Code = "request_too_large"
	RateLimited             Code = "rate_limited"
	ConcurrencyLimited      Code = "concurrency_limited"
	EdgeOverloaded          Code = "edge_overloaded"
	HeaderTooLarge          Code = "header_too_large"
	UpgradeUnsupported      Code = "upgrade_unsupported"
	FirstByteTimeout        Code = "first_byte_timeout"
	LinkLost                Code = "link_lost"
	LocalServiceUnreachable Code = "local_service_unreachable"
	BadAgentResponse        Code = "bad_agent_response"
	BadRequest              Code = "bad_request"
	Internal                Code = "internal"

	// Only agents that open a tunnel see these two.
	AlreadyConnected Code = "already_connected"
	Draining         Code = "draining"
)

type kind struct {
	status     int
	title      string
	retryAfter time.Duration // default for the codes that promise Retry-After
}

var kinds = map[Code]kind{
	TunnelNotFound:          {http.StatusNotFound, "No such tunnel", 0},
	NotFound:                {http.StatusNotFound, "Nothing here", 0},
	TunnelExpired:           {http.StatusGone, "The tunnel has expired", 0},
	TunnelRevoked:           {http.StatusGone, "The tunnel was revoked", 0},
	TunnelOffline:           {http.StatusServiceUnavailable, "The agent is not connected", 5 * time.Second},
	ControlPlaneUnavailable: {http.StatusServiceUnavailable, "The control plane can't be reached", 5 * time.Second},
	RegistryUnavailable:     {http.StatusServiceUnavailable, "The registry can't be reached", 5 * time.Second},
	RelayUnavailable:        {http.StatusServiceUnavailable, "The pod that holds the tunnel can't be reached", 2 * time.Second},
	Unauthorized:            {http.StatusUnauthorized, "Authentication is required", 0},
	Forbidden:               {http.StatusForbidden, "Not allowed", 0},
	MethodNotAllowed:        {http.StatusMethodNotAllowed, "Method not allowed", 0},
	RequestTooLarge:         {http.StatusRequestEntityTooLarge, "The request is too large", 0},
	RateLimited:             {http.StatusTooManyRequests, "Too many requests", time.Second},
	ConcurrencyLimited:      {http.StatusServiceUnavailable, "Too many requests at once for this tunnel", time.Second},
	EdgeOverloaded:          {http.StatusServiceUnavailable, "The edge is at its limit", 2 * time.Second},
	HeaderTooLarge:          {http.StatusRequestHeaderFieldsTooLarge, "The request header is too large", 0},
	UpgradeUnsupported:      {http.StatusNotImplemented, "This tunnel can't carry an upgraded connection", 0},
	FirstByteTimeout:        {http.StatusGatewayTimeout, "The agent did not answer in time", 0},
	LinkLost:                {http.StatusBadGateway, "The agent's connection was lost", 0},
	LocalServiceUnreachable: {http.StatusBadGateway, "The agent's local service can't be reached", 0},
	BadAgentResponse:        {http.StatusBadGateway, "The agent's answer can't be used", 0},
	BadRequest:              {http.StatusBadRequest, "Bad request", 0},
	Internal:                {http.StatusInternalServerError, "Internal error", 0},
	AlreadyConnected:        {http.StatusConflict, "The tunnel is already connected", 5 * time.Second},
	Draining:                {http.StatusServiceUnavailable, "This pod is shutting down", time.Second},
}

// Codes lists every code, for metrics and documentation.
func Codes() []Code {
	list := make([]Code, 0, len(kinds))
	for c := range kinds {
		list = append(list, c)
	}
	return list
}

// Status is the HTTP status that goes with the code.
func (c Code) Status() int { return kinds[c].status }

// Title is the short text for people, the same for every occurrence.
func (c Code) Title() string { return kinds[c].title }

// Retryable reports whether a caller may repeat any request, even one that is
// not idempotent, because the agent was proven not to have seen it.
func (c Code) Retryable() bool {
	return c.Status() == http.StatusServiceUnavailable || c.Status() == http.StatusTooManyRequests
}

// ErrNotDelivered marks, by errors.Is, a failure that is proven to have happened
// before the agent could see the request: any request may be repeated, on
// another link or by another pod.
var ErrNotDelivered = errors.New("the agent was not handed the request")

// Error is a failure with a code. The zero value is not useful.
type Error struct {
	Code       Code
	Status     int           // of the answer; 0 = the code's usual one
	Detail     string        // for the caller: names no secret, no internal address
	RetryAfter time.Duration // 0 = the code's default
	Header     http.Header   // more fields of the answer, such as Allow; may be nil
	Err        error         // the cause, for the log only
}

// New makes an Error with a detail that the caller may read.
func New(code Code, detail string) *Error { return &Error{Code: code, Detail: detail} }

// Wrap makes an Error that keeps its cause for the log.
func Wrap(code Code, detail string, cause error) *Error {
	return &Error{Code: code, Detail: detail, Err: cause}
}

// NotDelivered says that a tunnel's agent has just gone, and that it is proven
// not to have seen the request.
func NotDelivered(detail string, cause error) *Error {
	return Wrap(TunnelOffline, detail, errors.Join(ErrNotDelivered, cause))
}

// From finds the Error in a chain. An error without one is internal, and its
// text goes to nobody but the log.
func From(err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	return &Error{Code: Internal, Detail: "The edge met an unexpected error. The request id finds it in the log.", Err: err}
}

func (e *Error) Error() string {
	s := string(e.Code)
	if e.Detail != "" {
		s += ": " + e.Detail
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

func (e *Error) Unwrap() error { return e.Err }

// Retry is how long a caller should wait, 0 when the code says nothing of it.
func (e *Error) Retry() time.Duration {
	if e.RetryAfter > 0 {
		return e.RetryAfter
	}
	return kinds[e.Code].retryAfter
}
