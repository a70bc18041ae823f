package control

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/getbindu/bindu-edge/internal/fault"
	"github.com/getbindu/bindu-edge/internal/tunnel"
)

// MaxBodyBytes bounds the body of a request; more is 413.
const MaxBodyBytes = 64 << 10

const healthTimeout = 2 * time.Second

// The answers. Edges of other makes read them too, so names, order and
// spelling are fixed.
type (
	resolution struct {
		Tunnel    tunnel.ID     `json:"tunnel_id"`
		ExpiresAt string        `json:"expires_at"`
		Status    tunnel.Status `json:"status"`
	}
	validation struct {
		Valid     bool          `json:"valid"`
		Tunnel    tunnel.ID     `json:"tunnel_id"`
		Status    tunnel.Status `json:"status"`
		ExpiresAt string        `json:"expires_at"`
		Slug      tunnel.Slug   `json:"slug,omitempty"` // lets an edge tell the agent its public URL

		// Only what was set is there: an edge that knows none of it misses nothing.
		Limits *Limits `json:"limits,omitempty"`
		Auth   *Auth   `json:"auth,omitempty"` // hashes, see package credential
		CIDRs  *CIDRs  `json:"cidrs,omitempty"`
	}
	health struct {
		Status string `json:"status"`
	}
)

// Handler is the API that edges use: resolve, validate and health.
func (p *Plane) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/health", p.only(http.MethodGet, p.health))
	mux.Handle("/api/tunnels/resolve/{slug}", p.only(http.MethodGet, p.resolve))
	mux.Handle("/api/tunnels/validate", p.only(http.MethodPost, p.validate))
	mux.Handle("/", p.answer(func(http.ResponseWriter, *http.Request) error {
		return fault.New(fault.NotFound, "The control plane has nothing at this path.")
	}))
	return mux
}

func (p *Plane) health(w http.ResponseWriter, r *http.Request) error {
	// Who asks for health wants an answer soon, not the store's patience.
	ctx, cancel := context.WithTimeout(r.Context(), healthTimeout)
	defer cancel()
	if err := p.Ping(ctx); err != nil {
		if ctx.Err() != nil {
			err = fmt.Errorf("ping: %w: %w", ErrAway, err)
		}
		return err
	}
	return writeJSON(w, health{Status: "ok"})
}

func (p *Plane) resolve(w http.ResponseWriter, r *http.Request) error {
	slug, err := tunnel.ParseSlug(r.PathValue("slug"))
	if err != nil {
		return fault.Wrap(fault.TunnelNotFound, "No tunnel has this slug.", err)
	}
	t, err := p.store.BySlug(r.Context(), slug)
	if err == nil && !t.DeletedAt.IsZero() {
		err = unknownTunnel(t.ID)
	}
	if errors.Is(err, tunnel.ErrUnknown) {
		return fault.Wrap(fault.TunnelNotFound, "No tunnel has this slug.", err)
	}
	if err != nil {
		return err
	}
	return writeJSON(w, resolution{Tunnel: t.ID, ExpiresAt: t.ExpiresAt.UTC().Format(time.RFC3339), Status: t.Status(time.Now())})
}

func (p *Plane) validate(w http.ResponseWriter, r *http.Request) error {
	ask, err := readValidate(w, r)
	if err != nil {
		return err
	}
	id, err := tunnel.ParseID(ask.Tunnel)
	if err != nil {
		return fault.Wrap(fault.TunnelNotFound, "No tunnel has this id.", err)
	}
	t, err := p.store.ByID(r.Context(), id)
	if err == nil && !t.DeletedAt.IsZero() {
		err = unknownTunnel(id)
	}
	if errors.Is(err, tunnel.ErrUnknown) {
		return fault.Wrap(fault.TunnelNotFound, "No tunnel has this id.", err)
	}
	if err != nil {
		return err
	}
	// The token comes before the status: only its owner learns the latter here.
	now := time.Now()
	until, ok := t.Opens(ask.Token, now)
	if !ok {
		e := fault.New(fault.Unauthorized, "The token does not open this tunnel.")
		e.Header = http.Header{"Www-Authenticate": {`Bearer error="invalid_token"`}}
		return e
	}
	status := t.Status(now)
	answer := validation{
		Valid: status == tunnel.StatusActive, Tunnel: t.ID, Status: status,
		ExpiresAt: until.UTC().Format(time.RFC3339), Slug: t.Slug,
	}
	if !t.Limits.IsZero() {
		answer.Limits = &t.Limits
	}
	if t.Auth.Kind != AuthNone {
		answer.Auth = &t.Auth
	}
	if len(t.CIDRs.Allow)+len(t.CIDRs.Deny) > 0 {
		answer.CIDRs = &t.CIDRs
	}
	return writeJSON(w, answer)
}

type validateRequest struct {
	Tunnel string
	Token  string
}

func readValidate(w http.ResponseWriter, r *http.Request) (validateRequest, error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, MaxBodyBytes))
	if err != nil {
		if tooLarge, ok := errors.AsType[*http.MaxBytesError](err); ok {
			return validateRequest{}, fault.Wrap(fault.RequestTooLarge, "The body may have "+strconv.FormatInt(tooLarge.Limit, 10)+" bytes.", err)
		}
		return validateRequest{}, fault.Wrap(fault.BadRequest, "The body could not be read.", err)
	}
	var fields struct {
		Tunnel *string `json:"tunnel_id"`
		Token  *string `json:"token"`
	}
	// The cause stays out of the answer and the log: it may quote the token.
	if json.Unmarshal(body, &fields) != nil || fields.Tunnel == nil || fields.Token == nil {
		return validateRequest{}, fault.New(fault.BadRequest, `The body must be a JSON object with the strings "tunnel_id" and "token".`)
	}
	return validateRequest{Tunnel: *fields.Tunnel, Token: *fields.Token}, nil
}

// handler answers a request or says in one error why it did not.
type handler func(http.ResponseWriter, *http.Request) error

func (p *Plane) only(method string, h handler) http.Handler {
	return p.answer(func(w http.ResponseWriter, r *http.Request) error {
		head := method == http.MethodGet && r.Method == http.MethodHead // RFC 9110, section 9.3.2
		if r.Method == method || head {
			return h(w, r)
		}
		allow := method
		if method == http.MethodGet {
			allow = "GET, HEAD"
		}
		e := fault.New(fault.MethodNotAllowed, "This path answers "+allow+" only.")
		e.Header = http.Header{"Allow": {allow}}
		return e
	})
}

// answer is the one place where an error becomes an answer (RFC 9457).
func (p *Plane) answer(h handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		err := h(w, r)
		if err == nil {
			return
		}
		requestID := rand.Text()
		if errors.Is(err, ErrAway) {
			err = fault.Wrap(fault.ControlPlaneUnavailable, "The control plane's database does not answer.", err)
		}
		e := fault.From(err)
		if e.Code == fault.Internal && r.Context().Err() == nil { // of a store that is away, Run tells once
			p.logger.LogAttrs(r.Context(), slog.LevelError, "control plane request failed",
				slog.String("request_id", requestID), slog.String("path", r.URL.Path), slog.Any("error", err))
		}
		w.Header().Set("X-Request-Id", requestID)
		fault.Write(w, r, e)
	})
}

// writeJSON answers 200. A caller that is gone is nobody's error.
func writeJSON(w http.ResponseWriter, body any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(text)))
	h.Set("Cache-Control", "no-store")
	_, _ = w.Write(text)
	return nil
}
