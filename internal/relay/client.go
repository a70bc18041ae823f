package relay

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/getbindu/bindu-edge/internal/h2"
	"github.com/getbindu/bindu-edge/internal/tunnel"
)

// Options configure a Client. Pod, Dialer and Identity are required.
type Options struct {
	Pod      tunnel.PodID
	Dialer   Dialer
	Identity *Identity
	Logger   *slog.Logger // nil = none

	// MaxBuffered is what the answers of one tunnel may hold unread here, in bytes
	// (0: no bound), Budget all of them. See h2.Options.
	MaxBuffered int64
	Budget      *h2.Budget

	Carrier string                // what Dialer dials by, for the metrics: direct, nats or redis
	Metrics prometheus.Registerer // nil = not registered
}

// Client keeps one connection to each pod that it had to do with. Make it with
// NewClient, Close it at last. All methods may be called concurrently.
type Client struct {
	opts    Options
	log     *slog.Logger
	metrics clientMetrics
	opener  *h2.Opener
	worn    func(*h2.Conn) <-chan struct{} // its Worn, but for tests

	mu     sync.Mutex
	peers  map[tunnel.PodID]*peer // those with a connection, an attempt, or a fresh failure
	closed bool
	over   chan struct{} // closed with it
	wrong  everyMinute
	told   map[tunnel.PodID]trouble // the last with each pod, see status.go
	open   sync.WaitGroup
}

// peer is what a Client knows of a pod. Guarded by Client.mu.
type peer struct {
	conn    *h2.Conn
	attempt *attempt // the one that runs; nil = none does
	err     error    // of the last one
	failed  time.Time

	remote string    // where conn leads
	since  time.Time // when it was opened
}

// attempt is one try at a connection, for all who ask meanwhile.
type attempt struct {
	done chan struct{} // closed when one of the two below is there
	conn *h2.Conn
	err  error
}

// pause is how long the failure of an attempt stands for all that ask.
const pause = 250 * time.Millisecond

// maxPeers bounds the table. Pods come and go; an installation has few.
const maxPeers = 4096

// NewClient makes a Client. It connects to nobody before it is asked to.
func NewClient(o Options) *Client {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Client{
		opts: o, log: o.Logger, metrics: newClientMetrics(o.Metrics, o.Carrier), peers: map[tunnel.PodID]*peer{}, told: map[tunnel.PodID]trouble{}, over: make(chan struct{}), worn: (*h2.Conn).Worn,
		opener: h2.NewOpener(h2.Options{
			PingInterval: pingInterval, PingTimeout: pingTimeout, MaxResponseHeader: maxResponseHeader,
			MaxBuffered: o.MaxBuffered, Budget: o.Budget, By: byTunnel,
		}),
	}
}

// byTunnel is whose answers a request's are, as all of a hop's requests say.
func byTunnel(req *http.Request) string { return req.Header.Get(headerTunnel) }

// Close ends all connections and waits for what runs. Requests fail from then on.
func (c *Client) Close() {
	c.mu.Lock()
	if !c.closed {
		c.closed = true
		close(c.over)
	}
	c.mu.Unlock()
	c.open.Wait() // an attempt takes ConnectTimeout at most
}

var errClosed = errors.New("this pod is shutting down")

// connect returns the connection to pod. All that ask meanwhile share one
// attempt, which goes on when the one that caused it leaves; while it has just
// failed, they share its error. So a pod that can't be reached costs each
// request ConnectTimeout at most, and costs requests to other pods nothing.
func (c *Client) connect(ctx context.Context, pod tunnel.PodID) (*h2.Conn, error) {
	c.mu.Lock()
	p := c.peers[pod]
	if p == nil {
		if len(c.peers) >= maxPeers {
			c.forgetFailures()
		}
		if len(c.peers) >= maxPeers {
			c.mu.Unlock()
			return nil, errors.New("connected to too many pods")
		}
		p = &peer{}
		c.peers[pod] = p
	}
	if p.conn != nil && c.takesRequests(p.conn) {
		defer c.mu.Unlock()
		return p.conn, nil
	}
	if p.attempt == nil {
		switch {
		case c.closed:
			c.mu.Unlock()
			return nil, errClosed
		case p.err != nil && time.Since(p.failed) < pause:
			defer c.mu.Unlock()
			return nil, p.err
		}
		p.attempt = &attempt{done: make(chan struct{})}
		c.open.Go(func() { c.dial(pod, p) })
	}
	a := p.attempt
	c.mu.Unlock()
	select {
	case <-a.done:
		return a.conn, a.err // by now the connection may have ended: whoever uses it is told
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func (c *Client) takesRequests(conn *h2.Conn) bool {
	select {
	case <-conn.Leaving():
		return false
	case <-c.worn(conn):
		return false
	default:
		return true
	}
}

// forgetFailures drops the peers of which there is nothing but an old failure.
func (c *Client) forgetFailures() {
	for pod, p := range c.peers {
		if p.conn == nil && p.attempt == nil && time.Since(p.failed) >= pause {
			delete(c.peers, pod)
		}
	}
}

// dial makes the connection, and stays with it until it has ended.
func (c *Client) dial(pod tunnel.PodID, p *peer) {
	conn, carrier, err := c.reach(pod)
	c.mu.Lock()
	if err == nil && c.closed {
		_ = conn.Close()
		conn, err = nil, errClosed
	}
	p.conn, p.err, p.failed = conn, err, time.Now()
	if err == nil {
		p.remote, p.since = carrier.RemoteAddr().String(), p.failed
	} else if !errors.Is(err, errClosed) {
		c.trouble(pod, err, p.failed)
	}
	p.attempt.conn, p.attempt.err = conn, err
	close(p.attempt.done)
	p.attempt = nil
	news := errors.Is(err, ErrUnproven) && c.wrong.due(p.failed)
	c.mu.Unlock()
	if news {
		c.log.Warn("another pod and this one don't know each other: PEER_SECRET or the certificates differ", "peer_pod_id", string(pod), "error", err)
	}
	if err != nil {
		return
	}
	c.log.Debug("connected to another pod", "peer_pod_id", string(pod))
	c.attend(conn)
	c.mu.Lock()
	defer c.mu.Unlock()
	if p.conn == conn {
		p.conn, p.failed = nil, time.Time{}
		if !c.closed && !conn.SawGoaway() {
			c.trouble(pod, lost(conn, carrier), time.Now())
		}
		if p.attempt == nil && c.peers[pod] == p {
			delete(c.peers, pod)
		}
	}
}

// attend returns when conn has ended. One that is worn out or whose pod said
// goodbye is closed by us when its last request has ended.
func (c *Client) attend(conn *h2.Conn) {
	select {
	case <-conn.Done():
		return
	case <-c.over:
		_ = conn.Close()
		return
	case <-c.worn(conn):
	case <-conn.Leaving():
	}
	// Not at once: a request may just be on its way to conn.
	look := time.NewTicker(100 * time.Millisecond)
	defer look.Stop()
	for {
		select {
		case <-conn.Done():
			return
		case <-c.over:
			_ = conn.Close()
			return
		case <-look.C:
			if conn.InFlight() == 0 {
				_ = conn.Close()
			}
		}
	}
}

func (c *Client) reach(pod tunnel.PodID) (*h2.Conn, h2.Carrier, error) {
	ctx, cancel := context.WithTimeoutCause(context.Background(), ConnectTimeout,
		fmt.Errorf("no connection within %s", ConnectTimeout))
	defer cancel()
	raw, err := c.opts.Dialer.Dial(ctx, pod)
	if err != nil {
		return nil, nil, err
	}
	proven, err := c.opts.Identity.dial(ctx, raw, c.opts.Pod, pod)
	if err != nil {
		return nil, nil, fmt.Errorf("connect to pod %s: %w", pod, err)
	}
	conn, err := c.opener.Open(ctx, proven)
	if err != nil {
		return nil, nil, fmt.Errorf("connect to pod %s: %w", pod, err)
	}
	return conn, proven, nil
}

// control asks another pod something about a claim.
func (c *Client) control(ctx context.Context, method, path string, claim tunnel.Claim, more http.Header) (status int, err error) {
	conn, err := c.connect(ctx, claim.Pod)
	if err != nil {
		return 0, err
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://"+authority+path, nil)
	if err != nil {
		return 0, err
	}
	for name, values := range more {
		req.Header[name] = values
	}
	req.Header.Set(headerTunnel, string(claim.Tunnel))
	req.Header.Set(headerSession, claim.Session)
	res, err := conn.Send(req)
	if err != nil {
		return 0, err
	}
	_ = res.Body.Close()
	return res.StatusCode, nil
}

// Alive asks the pod of a claim whether its agent answers. A pod that does not
// say so before ctx ends is as silent as its agents.
func (c *Client) Alive(ctx context.Context, claim tunnel.Claim) bool {
	status, err := c.control(ctx, http.MethodGet, pathProbe, claim, nil)
	if errors.Is(err, ErrUnproven) {
		return true // it answers, and we don't understand each other: no proof of silence
	}
	return err == nil && status == http.StatusNoContent
}

// Moved tells the pod of a claim that the tunnel was taken over. same says that
// it went to the same agent process, whose old link may finish what it has
// begun. The pod would find out by itself, some seconds later.
func (c *Client) Moved(ctx context.Context, claim tunnel.Claim, same bool) error {
	more := http.Header{}
	if same {
		more.Set(headerSame, "1")
	}
	status, err := c.control(ctx, http.MethodPost, pathMoved, claim, more)
	if err == nil && status != http.StatusNoContent {
		err = fmt.Errorf("status %d", status)
	}
	if err != nil {
		return fmt.Errorf("tell pod %s of a move: %w", claim.Pod, err)
	}
	return nil
}

// everyMinute says whether an event that repeats is worth a word again. The zero
// value is ready; its owner's lock guards it.
type everyMinute struct{ last time.Time }

func (e *everyMinute) due(now time.Time) bool {
	if !e.last.IsZero() && now.Sub(e.last) < time.Minute {
		return false
	}
	e.last = now
	return true
}
