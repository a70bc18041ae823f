package controlclient_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/getbindu/bindu-edge/internal/controlclient"
	"github.com/getbindu/bindu-edge/internal/tunnel"
)

// airwaves is a control plane's event stream in a bubble where time is ours.
type airwaves struct {
	mu      sync.Mutex
	answer  func(*http.Request) *http.Response // nil = a stream
	asked   []string                           // the Last-Event-ID of each request, and when
	began   time.Time
	current *io.PipeWriter // of the last stream
}

func (a *airwaves) RoundTrip(r *http.Request) (*http.Response, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.asked = append(a.asked, fmt.Sprintf("%q after %s", r.Header.Get("Last-Event-ID"), time.Since(a.began).Truncate(time.Minute)))
	if r.URL.Path != "/api/events" || r.Header.Get("Authorization") != "Bearer key" || r.Header.Get("Accept") != "text/event-stream" {
		return says2(http.StatusTeapot, "", ""), nil
	}
	if a.answer != nil {
		return a.answer(r), nil
	}
	out, in := io.Pipe()
	context.AfterFunc(r.Context(), func() { out.CloseWithError(r.Context().Err()) })
	a.current = in
	res := says2(http.StatusOK, "text/event-stream; charset=utf-8", "")
	res.Body = out
	return res, nil
}

func says2(status int, kind, body string) *http.Response {
	return &http.Response{StatusCode: status, Header: http.Header{"Content-Type": {kind}}, Body: io.NopCloser(strings.NewReader(body))}
}

// send writes to the stream that stands.
func (a *airwaves) send(text string) {
	synctest.Wait()
	a.mu.Lock()
	in := a.current
	a.mu.Unlock()
	_, _ = io.WriteString(in, text)
	synctest.Wait()
}

func (a *airwaves) hangUp() {
	synctest.Wait()
	a.mu.Lock()
	defer a.mu.Unlock()
	_ = a.current.Close()
}

func (a *airwaves) requests() []string {
	synctest.Wait()
	a.mu.Lock()
	defer a.mu.Unlock()
	list := a.asked
	a.asked = nil
	return list
}

// diary is a follower that writes down what it hears.
type diary struct {
	mu    sync.Mutex
	heard []string
}

func (d *diary) Changed(c controlclient.Change) {
	d.write(fmt.Sprint(c.Kind, " ", c.Tunnel, " ", c.Slug, " ", c.OldSlug))
}
func (d *diary) Following(missed bool) { d.write(fmt.Sprint("following, missed ", missed)) }

func (d *diary) write(text string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.heard = append(d.heard, text)
}

func (d *diary) want(t *testing.T, want ...string) {
	t.Helper()
	synctest.Wait()
	d.mu.Lock()
	defer d.mu.Unlock()
	if diff := cmp.Diff(want, d.heard); diff != "" {
		t.Errorf("heard (-want +got):\n%s", diff)
	}
	d.heard = nil
}

type text struct {
	mu sync.Mutex
	bytes.Buffer
}

func (b *text) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.Write(p)
}

func (b *text) count(s string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.Count(b.String(), s)
}

// follow runs f while a client follows events.
func follow(t *testing.T, f func(t *testing.T, a *airwaves, d *diary, log *text)) {
	t.Helper()
	followWith(t, nil, f)
}

func followWith(t *testing.T, answer func(*http.Request) *http.Response, f func(t *testing.T, a *airwaves, d *diary, log *text)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		a, d, log := &airwaves{began: time.Now(), answer: answer}, &diary{}, &text{}
		c, err := controlclient.New(controlclient.Options{Transport: a, Token: "key"})
		if err != nil {
			t.Fatal(err)
		}
		e := controlclient.NewEvents(controlclient.EventsOptions{Client: c, Follower: d, Logger: slog.New(slog.NewTextHandler(log, nil))})
		ctx, stop := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { e.Run(ctx) })
		f(t, a, d, log)
		stop()
		running.Wait()
	})
}

const hello = "id: 7\nevent: hello\ndata: {}\n\n"

func TestEvents(t *testing.T) {
	follow(t, func(t *testing.T, a *airwaves, d *diary, _ *text) {
		a.send(hello)
		d.want(t, "following, missed true")
		a.send(":\n\nid: 8\r\nevent: tunnel\r\ndata: {\"tunnel_id\":\"t\",\"kind\":\"changed\",\"slug\":\"new\",\"old_slug\":\"old\",\"more\":1}\r\n\r\n")
		a.send("event: something else\ndata: x\n\nevent: tunnel\rid: 9\rdata: {\"tunnel_id\":\"u\",\rdata: \"kind\":\"revoked\"}\r\r")
		d.want(t, "changed t new old", "revoked u  ")

		a.hangUp()
		time.Sleep(time.Second)
		a.send("id: 12\nevent: hello\n\n")
		a.send("id: 10\nevent: tunnel\ndata: {\"tunnel_id\":\"v\",\"kind\":\"created\",\"slug\":\"s\"}\n\n")
		d.want(t, "following, missed false", "created v s ")
		a.hangUp() // before all was told
		time.Sleep(2 * time.Second)
		a.send("id: 10\nevent: hello\ndata: {}\n\n")
		a.send("id: 99\nevent: gap\ndata: {}\n\n")
		d.want(t, "following, missed false", "following, missed true")
		a.hangUp()
		time.Sleep(4 * time.Second)
		want := []string{`"" after 0s`, `"9" after 0s`, `"10" after 0s`, `"99" after 0s`}
		if diff := cmp.Diff(want, a.requests()); diff != "" {
			t.Errorf("requests (-want +got):\n%s", diff)
		}
	})
}

// A stream without a hello stands as well, and one that says nothing any more
// does not.
func TestEventsSilence(t *testing.T) {
	follow(t, func(t *testing.T, a *airwaves, d *diary, log *text) {
		a.send("id: 1\nevent: tunnel\ndata: {\"tunnel_id\":\"t\"}\n\n")
		d.want(t, "following, missed true", " t  ")
		a.requests()
		for range 10 {
			time.Sleep(controlclient.Silence - time.Second)
			a.send(":\n")
		}
		if n := len(a.requests()); n != 0 {
			t.Errorf("asked again %d times though there were comments", n)
		}
		time.Sleep(controlclient.Silence + time.Second)
		if n := len(a.requests()); n != 1 {
			t.Errorf("asked again %d times after a silence, want once", n)
		}
		a.send(hello)
		d.want(t, "following, missed false")
		if log.count("can't be followed now") != 1 || log.count("followed again") != 1 {
			t.Errorf("log: %s", log)
		}
	})
}

// What a line says that can't be read, nobody knows: everything may have changed.
func TestUnreadableEvents(t *testing.T) {
	for _, row := range []struct{ name, input string }{
		{"no JSON", "event: tunnel\nid: 8\ndata: yes\n\n"},
		{"no data", "event: tunnel\nid: 8\n\n"},
		{"no tunnel", "event: tunnel\nid: 8\ndata: {\"slug\":\"s\"}\n\n"},
		{"no id of a tunnel", "event: tunnel\nid: 8\ndata: {\"tunnel_id\":\"a b\"}\n\n"},
		{"no slug", "event: tunnel\nid: 8\ndata: {\"tunnel_id\":\"t\",\"old_slug\":\"a.b\"}\n\n"},
		{"kind of the wrong type", "event: tunnel\nid: 8\ndata: {\"tunnel_id\":\"t\",\"kind\":1}\n\n"},
		{"a line too long", "event: tunnel\ndata: " + strings.Repeat("x", controlclient.MaxEventLine) + "\n\n"},
		{"too many lines", "event: tunnel\n" + strings.Repeat("data: "+strings.Repeat("x", 1000)+"\n", 1+controlclient.MaxEvent/1000) + "\n"},
	} {
		t.Run(row.name, func(t *testing.T) {
			follow(t, func(t *testing.T, a *airwaves, d *diary, _ *text) {
				a.send(hello)
				d.want(t, "following, missed true")
				go a.send(row.input)
				time.Sleep(time.Second)
				a.send(hello)
				missed := !strings.HasPrefix(row.name, "a line") && !strings.HasPrefix(row.name, "too many")
				d.want(t, fmt.Sprint("following, missed ", missed))
			})
		})
	}
}

// How often a control plane is asked that gives no stream, and what is logged.
func TestEventsNotThere(t *testing.T) {
	for _, row := range []struct {
		name     string
		input    *http.Response
		wait     time.Duration
		requests [2]int // at least, at most
		warnings int
	}{
		{"only the three calls", says2(404, "", ""), time.Hour, [2]int{11, 14}, 0},
		{"method not allowed", says2(405, "", ""), time.Hour, [2]int{11, 14}, 0},
		{"not implemented", says2(501, "", ""), time.Hour, [2]int{11, 14}, 0},
		{"a page", says2(200, "text/html", "<p>"), time.Hour, [2]int{11, 14}, 0},
		{"wrong key", says2(401, "", ""), 19 * time.Minute, [2]int{38, 80}, 2},
		{"a key for other things", says2(403, "", ""), 9 * time.Minute, [2]int{18, 40}, 1},
		{"away", says2(503, "", ""), 19 * time.Minute, [2]int{38, 80}, 1},
		{"redirect", says2(302, "", ""), 19 * time.Minute, [2]int{38, 80}, 1},
	} {
		t.Run(row.name, func(t *testing.T) {
			answer := func(*http.Request) *http.Response {
				res := *row.input
				return &res
			}
			followWith(t, answer, func(t *testing.T, a *airwaves, d *diary, log *text) {
				time.Sleep(row.wait)
				if n := len(a.requests()); n < row.requests[0] || n > row.requests[1] {
					t.Errorf("%d requests in %s, want %v", n, row.wait, row.requests)
				}
				if n := log.count("level=WARN"); n != row.warnings {
					t.Errorf("%d warnings, want %d: %s", n, row.warnings, log)
				}
				d.want(t)
			})
		})
	}
}

// An id that the control plane does not take is not said again.
func TestEventsBadID(t *testing.T) {
	follow(t, func(t *testing.T, a *airwaves, d *diary, _ *text) {
		a.send(hello)
		a.mu.Lock()
		a.answer = func(r *http.Request) *http.Response {
			if r.Header.Get("Last-Event-ID") != "" {
				return says2(422, "", "")
			}
			return says2(200, "text/event-stream", hello)
		}
		a.mu.Unlock()
		a.hangUp()
		time.Sleep(4 * time.Second)
		synctest.Wait()
		d.mu.Lock()
		defer d.mu.Unlock()
		if len(d.heard) < 2 || d.heard[1] != "following, missed true" {
			t.Errorf("heard %q", d.heard)
		}
	})
}

// Whatever a stream says, reading it ends.
func FuzzEvents(f *testing.F) {
	f.Add(hello + "event: tunnel\nid: 8\ndata: {\"tunnel_id\":\"t\",\"kind\":\"moved\",\"slug\":\"a\",\"old_slug\":\"b\"}\n\n")
	f.Add("\uFEFFid: 1\r\revent:hello\r\n\r\ndata\n\n:::\n\x00")
	f.Fuzz(func(t *testing.T, body string) {
		synctest.Test(t, func(t *testing.T) {
			d := &checking{t: t}
			c, err := controlclient.New(controlclient.Options{Transport: fixed(body), Token: "key"})
			if err != nil {
				t.Fatal(err)
			}
			ctx, stop := context.WithTimeout(t.Context(), time.Minute)
			defer stop()
			controlclient.NewEvents(controlclient.EventsOptions{Client: c, Follower: d, Logger: slog.New(slog.DiscardHandler)}).Run(ctx)
		})
	})
}

type fixed string

func (b fixed) RoundTrip(*http.Request) (*http.Response, error) {
	return says2(200, "text/event-stream", string(b)), nil
}

// checking lets no change pass that names nothing.
type checking struct {
	t     *testing.T
	stood bool
}

func (c *checking) Following(bool) { c.stood = true }
func (c *checking) Changed(got controlclient.Change) {
	if _, err := tunnel.ParseID(string(got.Tunnel)); err != nil || !c.stood {
		c.t.Errorf("changed: %+v, %v", got, c.stood)
	}
}
