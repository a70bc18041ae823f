package agent

import (
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
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/coder/websocket"

	"github.com/getbindu/bindu-edge/internal/socket"
	"github.com/getbindu/bindu-edge/internal/wire"
	"github.com/getbindu/bindu-edge/internal/wsconn"
)

// dialTimeout bounds one attempt: resolve, connect, TLS, proxy, handshake.
const dialTimeout = 20 * time.Second

// RefusedError is an HTTP answer to the handshake that is no 101.
type RefusedError struct {
	Status     int           // of the HTTP answer
	Code       string        // Bindu-Edge-Error; empty when something other than an edge answered
	Detail     string        // for people, without control characters
	RetryAfter time.Duration // 0 when not given
}

func (e *RefusedError) Error() string {
	s := fmt.Sprintf("the edge answered %d %s", e.Status, http.StatusText(e.Status))
	if e.Code != "" {
		s += " (" + e.Code + ")"
	} else {
		s += " (not from an edge: is the URL right?)"
	}
	if e.Detail != "" {
		s += ": " + e.Detail
	}
	return s
}

// Final reports whether trying again is useless: the edge itself said that the
// credentials are wrong, or the tunnel unknown, expired or revoked. The same
// status from something in between, such as a load balancer during a deploy,
// is not final.
func (e *RefusedError) Final() bool {
	if e.Code == "" {
		return false
	}
	switch e.Status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusGone:
		return true
	}
	return false
}

// checkCredentials finds what no edge can accept, so that nobody waits for a link
// that never comes. It shows no token.
func checkCredentials(o Options) error {
	odd := func(r rune) bool {
		return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("._-", r))
	}
	switch {
	case (o.TunnelID == "") != (o.Token == ""):
		return errors.New("agent: a tunnel id and a token go together")
	case len(o.TunnelID) > 128 || strings.ContainsFunc(o.TunnelID, odd):
		return fmt.Errorf("agent: %.150q is no tunnel id: use 1 to 128 of A-Z a-z 0-9 . _ -", o.TunnelID)
	case o.TunnelID == "." || o.TunnelID == "..": // RFC 3986, section 5.2.4
		return fmt.Errorf("agent: %q is no tunnel id that can stand in a URL", o.TunnelID)
	case strings.ContainsFunc(o.Token, func(r rune) bool { return r <= ' ' || r == 0x7f }):
		return errors.New("agent: the token holds a space or a line end: a token is one word; trim what was read from a file")
	}
	return nil
}

// endpointOf is the URL at which the edge takes the agent.
func endpointOf(o Options) (*url.URL, error) {
	u, err := url.Parse(o.Edge)
	if err != nil || u.Host == "" {
		return nil, fmt.Errorf("agent: edge %q is no URL: use one like https://edge.example.com", o.Edge)
	}
	switch u.Scheme {
	case "http", "https":
	case "ws":
		u.Scheme = "http"
	case "wss":
		u.Scheme = "https"
	default:
		return nil, fmt.Errorf("agent: edge %q has scheme %q: use http or https", o.Edge, u.Scheme)
	}
	if u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, errors.New("agent: the edge's URL may have a path, but no user, query or fragment")
	}
	if o.TunnelID == "" {
		return u.JoinPath("ws"), nil
	}
	return u.JoinPath("ws", url.PathEscape(o.TunnelID)), nil
}

// edgeClient is the HTTP client for handshakes only.
func edgeClient(o Options) *http.Client {
	dialer := &net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second, Control: socket.Control(wsconn.Unsent)}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true) // a WebSocket starts with an HTTP/1.1 upgrade
	return &http.Client{
		Transport: &http.Transport{
			Proxy: o.Proxy, DialContext: dialSocket(dialer), TLSClientConfig: o.TLS.Clone(),
			TLSHandshakeTimeout: 10 * time.Second, Protocols: protocols,
		},
		// A redirect would carry the token to wherever it points.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// dialSocket puts a Socket around what is dialled, so that a message is one
// system call.
func dialSocket(d *net.Dialer) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := d.DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return wsconn.NewSocket(conn), nil
	}
}

// socketUnder finds the Socket in what net/http connected, which may be TLS.
func socketUnder(conn net.Conn) *wsconn.Socket {
	if secured, ok := conn.(*tls.Conn); ok {
		conn = secured.NetConn()
	}
	s, _ := conn.(*wsconn.Socket)
	return s
}

// connect opens one link and starts to serve on it.
func (a *Agent) connect(ctx context.Context) (session, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	header := http.Header{wire.HeaderInstance: {a.instance}, "User-Agent": {a.opts.UserAgent}}
	if a.opts.Token != "" {
		header.Set(wire.HeaderToken, a.opts.Token)
	}
	var socket *wsconn.Socket
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(got httptrace.GotConnInfo) { socket = socketUnder(got.Conn) },
	})
	ws, res, err := websocket.Dial(ctx, a.endpoint.String(), &websocket.DialOptions{
		HTTPClient: a.client, HTTPHeader: header, Subprotocols: []string{string(a.opts.Protocol)},
	})
	if err != nil {
		if res != nil && res.StatusCode != http.StatusSwitchingProtocols {
			return nil, refusal(res)
		}
		if ctx.Err() != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return nil, fmt.Errorf("the edge did not answer within %s", dialTimeout)
		}
		return nil, fmt.Errorf("connect to the edge: %w", rootCause(err))
	}
	if ws.Subprotocol() != string(a.opts.Protocol) {
		_ = ws.CloseNow()
		return nil, fmt.Errorf("the edge does not speak %s", a.opts.Protocol)
	}
	state := State{
		Phase: Online, PublicURL: printable(res.Header.Get(wire.HeaderPublicURL)), TunnelID: printable(res.Header.Get(wire.HeaderTunnelID)),
	}
	var s session
	if a.opts.Protocol == JSON {
		s = a.serveJSON(ws)
	} else {
		s = a.serve(wsconn.Over(socket, ws))
	}
	a.log.Info("linked", "tunnel_id", state.TunnelID, "public_url", state.PublicURL, "protocol", a.opts.Protocol)
	a.opts.OnState(state)
	return s, nil
}

// rootCause drops the layers of the dial's error that repeat the URL.
func rootCause(err error) error {
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return op
	}
	for {
		next := errors.Unwrap(err)
		if next == nil {
			return err
		}
		err = next
	}
}

// refusal reads an answer that is no 101. The WebSocket library has cut its
// body to a kilobyte.
func refusal(res *http.Response) *RefusedError {
	e := &RefusedError{
		Status:     res.StatusCode,
		Code:       printable(res.Header.Get(wire.HeaderEdgeError)),
		RetryAfter: retryAfter(res.Header.Get("Retry-After"), time.Now()),
	}
	if to := res.Header.Get("Location"); to != "" && res.StatusCode/100 == 3 {
		e.Detail = "it redirects to " + printable(to) + ", which an agent does not follow: give that URL"
		return e
	}
	body, _ := io.ReadAll(io.LimitReader(res.Body, 4096)) // what can't be read is only missing text
	var problem struct {
		Detail string `json:"detail"`
	}
	if strings.HasPrefix(res.Header.Get("Content-Type"), "application/problem+json") && json.Unmarshal(body, &problem) == nil {
		e.Detail = printable(problem.Detail)
	}
	return e
}

// retryAfter reads both forms of the field (RFC 9110, section 10.2.3).
func retryAfter(s string, now time.Time) time.Duration {
	if seconds, err := strconv.ParseUint(s, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(s); err == nil {
		return max(0, at.Sub(now))
	}
	return 0
}

// printable drops what could play tricks on a terminal or a log, and bounds the
// length.
func printable(s string) string {
	s = strings.Map(func(r rune) rune {
		if r == unicode.ReplacementChar || !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, s)
	return strings.ToValidUTF8(s[:min(len(s), 512)], "") // not half a character
}
