// Package controlclient asks the control plane, over HTTP, whether a token
// opens a tunnel and which tunnel a slug means. Of one that offers more it
// follows the events, and tells it of this pod's links and how many requests
// they had. It decides only how an answer is to be read, and when to ask again;
// it remembers no answer, and an event is to it no more than a hint. The control
// plane is trusted, its answers are not: what can't be read is an error, never a
// pass.
package controlclient

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/getbindu/bindu-edge/internal/tunnel"
)

// Bounds of one client.
const (
	DefaultTimeout = 10 * time.Second
	MaxAnswerBytes = 64 << 10
	MaxTokenBytes  = 16 << 10        // a longer token is wrong without a question
	MaxAtOnce      = 64              // validations; and as many resolves
	MaxWaiting     = 4096            // behind those
	MaxWait        = 5 * time.Second // then tunnel.ErrBusy
)

// What a question may end with, besides tunnel.ErrUnknown, tunnel.ErrExpired,
// tunnel.ErrRevoked and the error of a context that ended.
var (
	ErrAway     = errors.New("control plane is away") // no connection, no answer in time, 5xx, 429
	ErrNonsense = errors.New("control plane's answer can't be used")
)

// Options configure New.
type Options struct {
	BaseURL   *url.URL              // http or https, may have a path prefix; may be nil with a Transport
	Token     string                // sent as Authorization: Bearer; empty = not sent
	Transport http.RoundTripper     // nil = a pool of connections of its own
	Timeout   time.Duration         // one question from its turn to the answer's last byte; 0 = DefaultTimeout
	Metrics   prometheus.Registerer // nil = not registered
}

// Client asks one control plane. Safe for concurrent use.
type Client struct {
	base        *url.URL
	token       string
	timeout     time.Duration
	http        *http.Client
	metrics     metrics
	validations *gate
	resolves    *gate
}

// New makes a client. It asks nothing yet.
func New(o Options) (*Client, error) {
	if o.BaseURL == nil && o.Transport != nil {
		o.BaseURL = &url.URL{Scheme: "http", Host: "control-plane.invalid"} // a name for the transport to ignore
	}
	if o.BaseURL == nil || o.BaseURL.Host == "" || (o.BaseURL.Scheme != "http" && o.BaseURL.Scheme != "https") {
		return nil, errors.New("control plane needs an http or https URL")
	}
	if o.Transport == nil {
		o.Transport = newTransport()
	}
	if o.Timeout <= 0 {
		o.Timeout = DefaultTimeout
	}
	base := *o.BaseURL
	base.RawQuery, base.Fragment = "", ""
	return &Client{
		base: &base, token: o.Token, timeout: o.Timeout,
		http: &http.Client{
			Transport:     o.Transport,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		metrics:     newMetrics(o.Metrics),
		validations: newGate(MaxAtOnce, MaxWaiting, MaxWait),
		resolves:    newGate(MaxAtOnce, MaxWaiting, MaxWait),
	}, nil
}

// Close drops idle connections. Questions under way go on.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// newTransport has room for every question that may run at once, so that a
// busy edge does not open a connection for each.
func newTransport() *http.Transport {
	const perHost = 2*MaxAtOnce + 1 // validations, resolves, health
	return &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            (&net.Dialer{Timeout: 5 * time.Second, KeepAlive: 15 * time.Second}).DialContext,
		TLSHandshakeTimeout:    5 * time.Second,
		ForceAttemptHTTP2:      true,
		MaxIdleConns:           perHost,
		MaxIdleConnsPerHost:    perHost,
		IdleConnTimeout:        time.Minute,
		MaxResponseHeaderBytes: MaxAnswerBytes,
		DisableCompression:     true, // answers are small, and the bound is on what is read
	}
}

// Validate asks whether token opens the tunnel id, as of now. Its answer must
// not be used a second time.
func (c *Client) Validate(ctx context.Context, id tunnel.ID, token string) (tunnel.Grant, error) {
	if _, err := tunnel.ParseID(string(id)); err != nil {
		return tunnel.Grant{}, fmt.Errorf("validate: %w", err)
	}
	// JSON can't carry other text as it is: the question would be about another token.
	if token == "" || len(token) > MaxTokenBytes || !utf8.ValidString(token) {
		return tunnel.Grant{}, fmt.Errorf("validate: %w", tunnel.ErrUnauthorized)
	}
	body, err := json.Marshal(struct {
		Tunnel tunnel.ID `json:"tunnel_id"`
		Token  string    `json:"token"`
	}{id, token})
	if err != nil {
		return tunnel.Grant{}, fmt.Errorf("validate: %w", err)
	}
	if err := c.validations.enter(ctx); err != nil {
		c.metrics.notMade(callValidate, err)
		return tunnel.Grant{}, fmt.Errorf("validate: %w", err)
	}
	defer c.validations.leave()
	began := time.Now()
	status, answer, err := c.do(ctx, http.MethodPost, c.base.JoinPath("api/tunnels/validate"), body, token)
	var grant tunnel.Grant
	switch {
	case err != nil:
	case status == http.StatusUnauthorized:
		err = tunnel.ErrUnauthorized
	default:
		grant, err = readValidation(status, answer, id, time.Now())
	}
	c.metrics.made(callValidate, began, err)
	if err != nil {
		return tunnel.Grant{}, fmt.Errorf("validate: %w", err)
	}
	return grant, nil
}

// Resolve asks which tunnel slug means. A tunnel that is expired or revoked is
// no error: the resolution says so, and its ExpiresAt may then be zero.
func (c *Client) Resolve(ctx context.Context, slug tunnel.Slug) (tunnel.Resolution, error) {
	if _, err := tunnel.ParseSlug(string(slug)); err != nil {
		return tunnel.Resolution{}, fmt.Errorf("resolve: %w", err)
	}
	if err := c.resolves.enter(ctx); err != nil {
		c.metrics.notMade(callResolve, err)
		return tunnel.Resolution{}, fmt.Errorf("resolve: %w", err)
	}
	defer c.resolves.leave()
	began := time.Now()
	status, answer, err := c.do(ctx, http.MethodGet, c.base.JoinPath("api/tunnels/resolve", string(slug)), nil, "")
	var got tunnel.Resolution
	if err == nil {
		got, err = readResolution(status, answer)
	}
	c.metrics.made(callResolve, began, err)
	if err != nil {
		return tunnel.Resolution{}, fmt.Errorf("resolve: %w", err)
	}
	return got, nil
}

// Health asks whether the control plane works.
func (c *Client) Health(ctx context.Context) error {
	began := time.Now()
	status, answer, err := c.do(ctx, http.MethodGet, c.base.JoinPath("health"), nil, "")
	if err == nil {
		err = readHealth(status, answer)
	}
	c.metrics.made(callHealth, began, err)
	if err != nil {
		return fmt.Errorf("control plane health: %w", err)
	}
	return nil
}

// do asks once and gives the answer of a control plane that is not away; the
// body is read for a 200 only. secret must not show in the error.
func (c *Client) do(ctx context.Context, method string, to *url.URL, body []byte, secret string) (status int, answer []byte, err error) {
	limited, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	req, err := c.request(limited, method, to, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
		// Not sent; it tells net/http that a question may be repeated when a
		// pooled connection turns out to be closed, though it is a POST.
		req.Header["Idempotency-Key"] = nil
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return 0, nil, c.away(ctx, err, secret)
	}
	defer func() { _ = resp.Body.Close() }() // nothing left to lose
	switch {
	case resp.StatusCode == http.StatusNotImplemented: // away, for a call that every control plane has
		drain(resp)
		return 0, nil, fmt.Errorf("%w: %w: status %d", ErrAway, errNotOffered, resp.StatusCode)
	case resp.StatusCode >= 500 || resp.StatusCode == http.StatusTooManyRequests:
		drain(resp)
		return 0, nil, fmt.Errorf("%w: status %d", ErrAway, resp.StatusCode)
	case resp.StatusCode != http.StatusOK:
		drain(resp)
		return resp.StatusCode, nil, nil
	}
	answer, err = io.ReadAll(io.LimitReader(resp.Body, MaxAnswerBytes+1))
	if len(answer) > MaxAnswerBytes {
		return 0, nil, fmt.Errorf("%w: over %d bytes", ErrNonsense, MaxAnswerBytes)
	}
	if err != nil {
		return 0, nil, c.away(ctx, err, secret)
	}
	return resp.StatusCode, answer, nil
}

func (c *Client) request(ctx context.Context, method string, to *url.URL, body io.Reader) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, method, to.String(), body)
	if err != nil {
		return nil, errors.New("request can't be made") // its text may have a password of the URL
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "bindu-edge")
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	return req, nil
}

// away says why there is no answer: because the asker left, or because the
// control plane is away.
func (c *Client) away(ctx context.Context, err error, secret string) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		err = wrapped.Err // the URL says nothing new
	}
	// net/http quotes what it can't parse, and a strange server may echo.
	text := err.Error()
	if (secret != "" && strings.Contains(text, secret)) || (c.token != "" && strings.Contains(text, c.token)) {
		return fmt.Errorf("%w: what it sends is no HTTP", ErrAway)
	}
	return fmt.Errorf("%w: %w", ErrAway, err)
}

// drain lets the connection be used again if that costs little.
func drain(resp *http.Response) {
	if 0 <= resp.ContentLength && resp.ContentLength <= MaxAnswerBytes {
		_, _ = io.Copy(io.Discard, resp.Body) // the status has said it all
	}
}
