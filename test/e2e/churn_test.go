package e2e

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// soak is how long TestChurn goes on: one thousand links by default, or rounds
// of them for as long as asked.
var soak = flag.Duration("soak", 0, "how long the churn goes on (0: 1,000 links)")

// Bounds of what may be left after the churn, see TestChurn.
const (
	heapGrowth = 2 * mib
	// Resident memory is garbage, too, and what the allocator keeps.
	residentGrowth = 48 * mib
)

// Agents and callers come and go in every rude way. What they cost goes with
// them: heap, goroutines, links and the registry's keys.
// It is measured, so it has the machine to itself.
func TestChurn(t *testing.T) {
	redis := startRedis(t)
	c := startChurn(t, redis.env("MAX_REQUEST_BODY_BYTES=0", "RECONNECT_GRACE_SECONDS=0.2", "LOG_LEVEL=WARN",
		fmt.Sprint("WS_PING_INTERVAL_SECONDS=", pings.Seconds()))...)
	goroutines := c.state(false).goroutines + 5 // some start when they are first needed
	c.round(120)                                // what is made once has been made
	before := c.rest(goroutines)
	began := time.Now()
	if *soak == 0 {
		c.round(1000)
		c.wantAsBefore(before, c.rest(goroutines))
	} else {
		report := time.NewTicker(10 * time.Second)
		defer report.Stop()
		stop := c.reporting(report.C, began)
		for time.Since(began) < *soak && !t.Failed() {
			c.round(1000)
			c.wantAsBefore(before, c.rest(goroutines))
		}
		stop()
	}
	t.Logf("%s after %.1f s", c.counts(), time.Since(began).Seconds())

	c.agent.signal(syscall.SIGINT)
	if code := c.agent.wait(); code != 0 {
		t.Errorf("the agent's exit code is %d", code)
	}
	eventually(t, "the edge has no link", func() bool { return tunnelsOf(c.edge.metrics(false)) == 0 })
	eventually(t, "the registry has no entry", func() bool { return len(c.entries(redis)) == 0 })
}

// churn is a pod with one agent that stays, and many that don't.
type churn struct {
	*world
	t      *testing.T
	coming []credentials // of the tunnels whose agents come and go
	caller *http.Client  // over HTTP/2

	links, requests, failures atomic.Int64
}

func startChurn(t *testing.T, env ...string) *churn {
	t.Helper()
	c := &churn{t: t, caller: callerH2(t)}
	socket := sockets(make(chan struct{}, 1_000_000))
	c.world = startPlainWorld(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/events":
			c.endless(w, r)
		case "/socket":
			socket(w, r)
		default:
			mirror(w, r)
		}
	}), env...)
	for range 40 {
		c.coming = append(c.coming, c.plane.create(t, ""))
	}
	return c
}

// endless is an event stream that ends with its caller.
func (c *churn) endless(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	_, _ = io.WriteString(w, "data: first\n\n")
	_ = http.NewResponseController(w).Flush()
	<-r.Context().Done()
}

// round opens n links and lets them go; beside them callers of the tunnel that
// stays break off what they began.
func (c *churn) round(n int) {
	c.t.Helper()
	var all sync.WaitGroup
	for i, credentials := range c.coming {
		all.Go(func() {
			for turn := range n / len(c.coming) {
				c.links.Add(1)
				c.note(c.comeAndGo(credentials, i+turn))
			}
		})
	}
	for range 8 {
		all.Go(func() {
			for range n / 8 / 5 {
				for _, rude := range []func() error{c.breakUpload, c.breakDownload, c.leaveEvents, c.leaveSocket, c.whole} {
					c.requests.Add(1)
					c.note(rude())
				}
			}
		})
	}
	all.Wait()
}

func (c *churn) note(err error) {
	if err != nil {
		c.failures.Add(1)
		c.t.Error(err)
	}
}

// comeAndGo links an agent, asks through it, and ends the link in one of several
// ways.
func (c *churn) comeAndGo(of credentials, way int) error {
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	path, header := opens(of, "instance of "+string(of.id))
	if way%2 == 0 {
		a, err := dialJSONAgent(ctx, c.edge.url+path, header, "json")
		if err != nil {
			return err
		}
		defer func() {
			_ = a.conn.CloseNow() // without a word, unless it was closed before
			if err := <-a.ended; err == nil {
				c.note(errors.New("an agent ended without a reason"))
			}
		}()
		if err := c.askFirst(ctx, of, "/x", "json /x"); err != nil {
			return err
		}
		if way%4 == 0 {
			return a.conn.Close(websocket.StatusNormalClosure, "")
		}
		return nil
	}
	a, err := dialH2Agent(ctx, c.edge.url+path, header, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/events" {
			c.endless(w, r)
			return
		}
		_, _ = io.WriteString(w, "h2 "+r.URL.Path)
	}))
	if err != nil {
		return err
	}
	defer a.kill()
	if err := c.askFirst(ctx, of, "/x", "h2 /x"); err != nil {
		return err
	}
	switch way % 8 {
	case 1: // in order
		return a.leave(ctx)
	case 3: // killed under a caller
		res, err := c.get(ctx, c.caller, c.edge.path(of, "/events"))
		if err != nil {
			return err
		}
		a.kill()
		defer func() { _ = res.Body.Close() }()
		if rest, err := io.ReadAll(res.Body); err == nil {
			return fmt.Errorf("a stream whose agent was killed looks whole: %q", rest)
		}
	}
	return nil // killed
}

func (c *churn) get(ctx context.Context, by *http.Client, url string) (*http.Response, error) {
	c.requests.Add(1)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	res, err := by.Do(req)
	if err == nil && res.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(res.Body)
		_ = res.Body.Close()
		err = fmt.Errorf("%s: %d %s", url, res.StatusCode, text)
		if res.Header.Get("Bindu-Edge-Error") == "link_lost" {
			err = fmt.Errorf("%w: %w", errLinkLost, err)
		}
	}
	return res, err
}

var errLinkLost = errors.New("the link was lost")

// askFirst asks through a new link. The one before it, which gets requests until
// this one is there, may have been killed, and the edge may find out by this
// request: once.
func (c *churn) askFirst(ctx context.Context, of credentials, path, want string) error {
	err := c.ask(ctx, of, path, want)
	if errors.Is(err, errLinkLost) {
		err = c.ask(ctx, of, path, want)
	}
	return err
}

func (c *churn) ask(ctx context.Context, of credentials, path, want string) error {
	res, err := c.get(ctx, c.caller, c.edge.path(of, path))
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	if got, err := io.ReadAll(res.Body); err != nil || string(got) != want {
		return fmt.Errorf("got %q, %w, want %q", got, err, want)
	}
	return nil
}

// breakUpload leaves in the middle of a body.
func (c *churn) breakUpload() error {
	ctx, leave := context.WithCancel(c.t.Context())
	defer leave()
	body, up := io.Pipe()
	go func() {
		_, _ = up.Write(make([]byte, 100_000))
		leave()
		_ = up.CloseWithError(io.ErrUnexpectedEOF)
	}()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url("/"), body)
	if err != nil {
		return err
	}
	res, err := client.Do(req)
	if err == nil {
		_ = res.Body.Close()
		return fmt.Errorf("half an upload got %d", res.StatusCode)
	}
	return nil
}

// breakDownload leaves in the middle of an answer.
func (c *churn) breakDownload() error {
	ctx, leave := context.WithTimeout(c.t.Context(), patience)
	defer leave()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url("/"), strings.NewReader(strings.Repeat("x", 300_000)))
	if err != nil {
		return err
	}
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	_, err = io.ReadFull(res.Body, make([]byte, 1000))
	return err
}

func (c *churn) leaveEvents() error {
	ctx, leave := context.WithTimeout(c.t.Context(), patience)
	defer leave()
	res, err := c.get(ctx, client, c.url("/events"))
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	_, err = io.ReadFull(res.Body, make([]byte, len("data: first\n\n")))
	return err
}

func (c *churn) leaveSocket() error {
	ctx, leave := context.WithTimeout(c.t.Context(), patience)
	defer leave()
	conn, _, err := websocket.Dial(ctx, c.url("/socket"), nil)
	if err != nil {
		return err
	}
	defer func() { _ = conn.CloseNow() }() // without a word
	if err := conn.Write(ctx, websocket.MessageText, []byte("hello")); err != nil {
		return err
	}
	_, _, err = conn.Read(ctx)
	return err
}

func (c *churn) whole() error {
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	return c.ask(ctx, c.cred, "/whole", "")
}
