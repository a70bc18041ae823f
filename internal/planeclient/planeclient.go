// Package planeclient asks the control plane's API (/api/v1) for a person or a
// program: tunnels and API keys. It decides how a question is sent, when it is
// sent again, and what an answer that is no success means; never what may be
// done. The control plane is trusted with the API key, its answers are not:
// they are bounded, and their texts must be made safe before a terminal shows
// them.
package planeclient

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync/atomic"
	"time"
)

// Bounds of one client.
const (
	DefaultTimeout = 10 * time.Second // of one try, to the answer's last byte
	MaxTries       = 3                // of a question whose answer was lost
	MaxAnswerBytes = 16 << 20         // more than the largest page
	MaxPage        = 500              // tunnels on a page
)

// retryWait is the pause before the second try; the third waits twice as long.
const retryWait = 250 * time.Millisecond

// Options configure New.
type Options struct {
	BaseURL   *url.URL          // required: http or https, may have a path prefix
	Key       string            // API key; empty = none is sent
	UserAgent string            // empty = Go's own
	TLS       *tls.Config       // nil = the system's authorities; not with a Transport
	Transport http.RoundTripper // nil = one of its own
	Timeout   time.Duration     // of one try; 0 = DefaultTimeout
}

// Client asks one control plane. Safe for concurrent use.
type Client struct {
	base      *url.URL
	key       string
	userAgent string
	timeout   time.Duration
	http      *http.Client
}

// New makes a client. It asks nothing yet.
func New(o Options) (*Client, error) {
	if o.BaseURL == nil || o.BaseURL.Host == "" || (o.BaseURL.Scheme != "http" && o.BaseURL.Scheme != "https") {
		return nil, errors.New("control plane needs an http or https URL")
	}
	if o.Transport == nil {
		o.Transport = &http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			DialContext:            (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
			TLSClientConfig:        o.TLS,
			TLSHandshakeTimeout:    5 * time.Second,
			ForceAttemptHTTP2:      true,
			MaxIdleConnsPerHost:    2,
			IdleConnTimeout:        time.Minute,
			MaxResponseHeaderBytes: 64 << 10,
		}
	}
	if o.Timeout <= 0 {
		o.Timeout = DefaultTimeout
	}
	base := *o.BaseURL
	base.RawQuery, base.Fragment = "", ""
	return &Client{
		base: &base, key: o.Key, userAgent: o.UserAgent, timeout: o.Timeout,
		http: &http.Client{
			Transport: o.Transport,
			// The key is for the control plane that was named, and for nobody it names.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}, nil
}

// Close drops idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// question is one call of the API.
type question struct {
	method string
	path   []string // its parts, not escaped
	query  url.Values
	body   any    // nil = none; becomes JSON
	once   string // Idempotency-Key; empty = none
}

// ask sends a question and reads its answer. Every call of the API may be
// repeated (those that make something by their Idempotency-Key), so one whose
// answer was lost is asked again; tries says how often it was sent.
func (c *Client) ask(ctx context.Context, q question, into any) (tries int, err error) {
	for _, part := range q.path {
		if part == "" || part == "." || part == ".." { // would be another path
			return 0, &Error{Status: http.StatusNotFound, Code: "not_found", Detail: "There is nothing with this id."}
		}
	}
	var body []byte
	if q.body != nil {
		if body, err = json.Marshal(q.body); err != nil {
			return 0, fmt.Errorf("write the question: %w", err)
		}
	}
	for {
		tries++
		again, err := c.try(ctx, q, body, into)
		if err == nil || !again || tries == MaxTries {
			return tries, err
		}
		wait := time.NewTimer(retryWait << (tries - 1))
		select {
		case <-wait.C:
		case <-ctx.Done():
			wait.Stop()
			return tries, ctx.Err()
		}
	}
}

// try asks once. again says that the answer was lost, and another try sensible.
func (c *Client) try(ctx context.Context, q question, body []byte, into any) (again bool, err error) {
	trying, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	var sent atomic.Bool
	trying = httptrace.WithClientTrace(trying, &httptrace.ClientTrace{WroteHeaders: func() { sent.Store(true) }})
	req, err := c.request(trying, q, body)
	if err != nil {
		return false, err
	}
	res, err := c.http.Do(req)
	var text []byte
	if err == nil {
		text, err = io.ReadAll(io.LimitReader(res.Body, MaxAnswerBytes+1))
		_ = res.Body.Close()
	}
	switch {
	case ctx.Err() != nil:
		return false, ctx.Err()
	case err != nil:
		lost := sent.Load()
		return lost && trying.Err() == nil, &AwayError{Lost: lost && q.method != http.MethodGet, Err: reason(err, c.timeout)}
	case len(text) > MaxAnswerBytes:
		return false, &ForeignError{Status: res.StatusCode, Reason: fmt.Sprintf("the answer has more than %d bytes", MaxAnswerBytes)}
	case res.StatusCode >= 200 && res.StatusCode < 300:
		return false, decode(res, text, into)
	}
	err = failure(res, text)
	if IsMissing(err) && len(q.path) == 1 { // a list is always there
		err = &ForeignError{Status: res.StatusCode, Reason: "it has no " + q.path[0]}
	}
	var away *AwayError
	return errors.As(err, &away) && res.StatusCode != http.StatusServiceUnavailable, err
}

func (c *Client) request(ctx context.Context, q question, body []byte) (*http.Request, error) {
	parts := []string{"api", "v1"}
	for _, part := range q.path {
		parts = append(parts, url.PathEscape(part))
	}
	to := c.base.JoinPath(parts...)
	to.RawQuery = q.query.Encode()
	var content io.Reader
	if body != nil {
		content = bytes.NewReader(body)
	}
	req, err := http.NewRequestWithContext(ctx, q.method, to.String(), content)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json, application/problem+json")
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
		if q.method == http.MethodPatch {
			req.Header.Set("Content-Type", "application/merge-patch+json")
		}
	}
	if c.key != "" {
		req.Header.Set("Authorization", "Bearer "+c.key)
	}
	if c.userAgent != "" {
		req.Header.Set("User-Agent", c.userAgent)
	}
	if q.once != "" {
		req.Header.Set("Idempotency-Key", q.once)
	}
	return req, nil
}

// decode reads a success. into is nil where there is nothing to read.
func decode(res *http.Response, text []byte, into any) error {
	if into == nil {
		return nil
	}
	if kind := res.Header.Get("Content-Type"); !strings.HasPrefix(kind, "application/json") {
		return &ForeignError{Status: res.StatusCode, Reason: fmt.Sprintf("the answer is %q instead of application/json", clip(kind))}
	}
	if err := json.Unmarshal(text, into); err != nil {
		return &ForeignError{Status: res.StatusCode, Reason: "the answer can't be read: " + clip(err.Error())}
	}
	return nil
}
