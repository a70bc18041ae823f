package api

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/getbindu/bindu-edge/internal/control"
	"github.com/getbindu/bindu-edge/internal/fault"
)

// caller is who asks, once its key is known to be right.
type caller struct {
	key    control.Key
	secret string
	from   netip.Addr
}

// actor is the caller for the audit log.
func (c caller) actor() control.Actor {
	return control.Actor{Key: c.key.ID, Name: c.key.Name, From: c.from.String()}
}

// authorize finds out who asks, and whether the key brings the right. Both come
// before anything else is looked at, so that no answer tells a stranger what
// there is.
func (a *API) authorize(r *http.Request, right control.Right) (caller, error) {
	c := caller{from: a.ClientAddr(r)}
	var ok bool
	if c.secret, ok = bearer(r); !ok {
		return c, unauthorized("Say who you are: Authorization: Bearer KEY, with an API key of this control plane.", `Bearer`)
	}
	if wait := a.guesses.Wait(c.from, c.secret); wait > 0 {
		e := fault.New(fault.RateLimited, "Too many wrong API keys came from this address.")
		e.RetryAfter = wait
		return c, e
	}
	var err error
	if c.key, err = a.plane.Authenticate(r.Context(), c.secret); err != nil {
		if errors.Is(err, control.ErrUnauthorized) {
			a.guesses.Wrong(c.from, c.secret)
			a.logger.LogAttrs(r.Context(), slog.LevelWarn, "wrong API key", slog.String("remote_addr", c.from.String()), slog.String("path", r.URL.Path))
			return c, unauthorized("This is no API key of this control plane, or it was revoked.", `Bearer error="invalid_token"`)
		}
		return c, err
	}
	a.guesses.Right(c.from, c.secret)
	if !c.key.Role.Has(right) {
		e := fault.New(fault.Forbidden, "An API key with the role "+string(c.key.Role)+" may not do this.")
		e.Header = http.Header{"Www-Authenticate": {`Bearer error="insufficient_scope"`}} // RFC 6750, section 3.1
		return c, e
	}
	return c, nil
}

func unauthorized(detail, challenge string) error {
	e := fault.New(fault.Unauthorized, detail)
	e.Header = http.Header{"Www-Authenticate": {challenge}}
	return e
}

// bearer reads the one Authorization header (RFC 6750, section 2.1).
func bearer(r *http.Request) (string, bool) {
	values := r.Header["Authorization"]
	if len(values) != 1 {
		return "", false
	}
	scheme, secret, found := strings.Cut(values[0], " ")
	secret = strings.Trim(secret, " ")
	return secret, found && strings.EqualFold(scheme, "Bearer") && secret != ""
}

// ClientAddr is where a request comes from: the peer, or what trusted proxies
// say of theirs. It is the last address that no trusted proxy has; the zero Addr
// when the peer has none.
func (a *API) ClientAddr(r *http.Request) netip.Addr {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return netip.Addr{}
	}
	addr = addr.Unmap().WithZone("")
	isTrusted := func() bool {
		for _, p := range a.trusted {
			if p.Contains(addr) {
				return true
			}
		}
		return false
	}
	hops := strings.Split(strings.Join(r.Header["X-Forwarded-For"], ","), ",")
	for i := len(hops) - 1; i >= 0 && isTrusted(); i-- {
		next, err := netip.ParseAddr(strings.TrimSpace(hops[i]))
		if err != nil {
			break
		}
		addr = next.Unmap().WithZone("")
	}
	return addr
}

type callerKey struct{}

func callerOf(ctx context.Context) caller {
	c, _ := ctx.Value(callerKey{}).(caller)
	return c
}

// call adds one call of /api/v1 or of edges: the right that it needs is checked
// before its body is read.
func call[I, O any](a *API, right control.Right, op huma.Operation, do func(context.Context, caller, *I) (*O, error)) {
	op.Security = []map[string][]string{{"key": {}}}
	if op.MaxBodyBytes == 0 {
		op.MaxBodyBytes = MaxBodyBytes
	}
	op.Middlewares = huma.Middlewares{func(ctx huma.Context, next func(huma.Context)) {
		r, w := humago.Unwrap(ctx)
		c, err := a.authorize(r, right)
		if err != nil {
			a.fail(w, r, err)
			return
		}
		next(huma.WithValue(ctx, callerKey{}, c))
	}}
	level := slog.LevelDebug
	if right == control.MayChange || right == control.MayManage {
		level = slog.LevelInfo
	}
	huma.Register(a.huma, op, func(ctx context.Context, in *I) (*O, error) {
		c := callerOf(ctx)
		began := time.Now()
		out, err := do(ctx, c, in)
		outcome := "ok"
		var p *problem
		if err != nil {
			p = a.problem(ctx, op.Path, err)
			outcome = string(p.Code)
		}
		a.logger.LogAttrs(ctx, level, "control plane call", slog.String("call", op.OperationID), slog.String("outcome", outcome),
			slog.String("key_id", c.key.ID), slog.String("key_name", c.key.Name), slog.String("remote_addr", c.from.String()),
			slog.Duration("took", time.Since(began)))
		if p != nil {
			return nil, p
		}
		return out, nil
	})
}
