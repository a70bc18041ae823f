package api_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/getbindu/bindu-edge/internal/control"
	"github.com/getbindu/bindu-edge/internal/control/api"
	"github.com/getbindu/bindu-edge/internal/given"
	"github.com/getbindu/bindu-edge/internal/tunnel"
)

// event is one server-sent event, or a comment.
type event struct {
	ID, Name, Data string
	Comment        bool
}

// follower reads a stream.
type follower struct {
	t     *testing.T
	lines *bufio.Scanner
	body  io.Closer
}

// follow opens a stream at the URL with client. headers are pairs.
func (p *plant) follow(client *http.Client, url string, headers ...string) *follower {
	p.t.Helper()
	r, err := http.NewRequestWithContext(p.t.Context(), http.MethodGet, url, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+p.key(control.RoleEdge))
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	resp, err := client.Do(r)
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { _ = resp.Body.Close() })
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "text/event-stream" {
		p.t.Fatalf("stream: %d %v", resp.StatusCode, resp.Header)
	}
	return &follower{p.t, bufio.NewScanner(resp.Body), resp.Body}
}

// serve serves p on a port until the test ends.
func (p *plant) serve() *httptest.Server {
	server := httptest.NewServer(p.api)
	p.t.Cleanup(func() {
		p.api.Drain() // else Close would wait for the streams
		server.Close()
	})
	return server
}

// next is the next event; false when the stream has ended.
func (f *follower) next() (e event, ok bool) {
	for f.lines.Scan() {
		name, value, _ := strings.Cut(f.lines.Text(), ":")
		value = strings.TrimPrefix(value, " ")
		switch {
		case f.lines.Text() == "":
			return e, true
		case name == "":
			e.Comment = true
		case name == "id":
			e.ID = value
		case name == "event":
			e.Name = value
		case name == "data":
			e.Data = value
		}
	}
	return event{}, false
}

func (f *follower) want(when string, want ...event) {
	f.t.Helper()
	for _, w := range want {
		got, ok := f.next()
		if diff := cmp.Diff(w, got); diff != "" || !ok {
			f.t.Errorf("%s: still open %v (-want +got):\n%s", when, ok, diff)
		}
	}
}

func hello(id int) event { return event{ID: fmt.Sprint(id), Name: "hello", Data: "{}"} }
func gap(id int) event   { return event{ID: fmt.Sprint(id), Name: "gap", Data: "{}"} }

func changed(id int, tunnel object, kind, slug, old string) event {
	data := fmt.Sprintf(`{"tunnel_id":%q,"kind":%q,"slug":%q`, tunnel["tunnel_id"], kind, slug)
	if old != "" {
		data += fmt.Sprintf(`,"old_slug":%q`, old)
	}
	return event{ID: fmt.Sprint(id), Name: "tunnel", Data: data + "}"}
}

func TestEvents(t *testing.T) {
	t.Parallel()
	p := newPlant(t)
	server := p.serve()
	first := p.make1(`"slug":"first"`)
	f := p.follow(server.Client(), server.URL+"/api/events")
	f.want("at first", hello(1))
	second := p.make1(`"slug":"second"`)
	f.want("created", changed(2, second, "created", "second", ""))
	for i, row := range []struct {
		method, path, input string
		want                event
	}{
		{"PATCH", path(first), `{"limits":{"rps":1}}`, changed(3, first, "changed", "first", "")},
		{"PATCH", path(first), `{"slug":"third","name":"x"}`, changed(4, first, "moved", "third", "first")},
		{"POST", path(first, "/rotate"), ``, changed(5, first, "rotated", "third", "")},
		{"POST", path(first, "/revoke"), ``, changed(6, first, "revoked", "third", "")},
		{"POST", path(first, "/restore"), ``, changed(7, first, "restored", "third", "")},
		{"DELETE", path(first), ``, changed(8, first, "deleted", "third", "")},
	} {
		if a := p.ask(control.RoleOperator, row.method, row.path, row.input); a.status >= 300 {
			t.Fatalf("%s: %d %s", row.path, a.status, a.body)
		}
		f.want(fmt.Sprint("change ", i), row.want)
	}
	p.follow(server.Client(), server.URL+"/api/events", "Last-Event-ID", "6").want("resumed", hello(6), changed(7, first, "restored", "third", ""), changed(8, first, "deleted", "third", ""))
	p.follow(server.Client(), server.URL+"/api/events", "Last-Event-ID", "99").want("after what never was", hello(99), gap(8))

	p.api.Drain()
	if e, open := f.next(); open {
		t.Errorf("after the end: %+v", e)
	}
	if a := p.ask(control.RoleEdge, "GET", "/api/events", ""); a.status != http.StatusServiceUnavailable {
		t.Errorf("a new stream after the end: %d %s", a.status, a.body)
	}
}

func TestEventsAfterAQuery(t *testing.T) {
	t.Parallel()
	p := newPlant(t)
	server := p.serve()
	made := p.make1(`"slug":"first"`)
	p.follow(server.Client(), server.URL+"/api/events?after=0").want("resumed", hello(0), changed(1, made, "created", "first", ""))
}

func TestEventsAreBounded(t *testing.T) {
	t.Parallel()
	p := newPlant(t, func(o *api.Options) { o.MaxStreams = 1 })
	server := p.serve()
	f := p.follow(server.Client(), server.URL+"/api/events")
	f.want("the first", hello(0))
	a := p.ask(control.RoleEdge, "GET", "/api/events", "")
	if got := as[refusal](t, a, http.StatusServiceUnavailable); got.Code != "control_plane_unavailable" || a.header.Get("Retry-After") == "" {
		t.Errorf("one too many: %s", a.body)
	}
}

// A change by another process that shares the database is heard of soon.
func TestEventsOfOthers(t *testing.T) {
	t.Parallel()
	here := newPlant(t)
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	running.Go(func() {
		if err := here.plane.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	there := plantOn(t, here.kept)
	server := here.serve()
	f := here.follow(server.Client(), server.URL+"/api/events")
	f.want("at first", hello(0))
	made := there.make1(`"slug":"first"`)
	f.want("of the other", changed(1, made, "created", "first", ""))
}

// pipes listens on nothing but memory, so that time can be a test's own.
type pipes struct{ *given.Listener }

func newPipes() pipes {
	return pipes{given.NewListener(&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})}
}

func (l pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	here, there := net.Pipe()
	return here, l.Give(ctx, there)
}

// inMemory serves p with the timeouts of a real server.
func inMemory(p *plant) (client *http.Client, end func()) {
	l := newPipes()
	server := &http.Server{Handler: p.api, ReadTimeout: 30 * time.Second, WriteTimeout: time.Minute}
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(l) })
	transport := &http.Transport{DialContext: l.dial}
	return &http.Client{Transport: transport}, func() {
		transport.CloseIdleConnections()
		_ = server.Close()
		serving.Wait()
	}
}

func TestEventsSilence(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPlant(t)
		client, end := inMemory(p)
		defer end()
		f := p.follow(client, "http://control/api/events")
		began := time.Now()
		f.want("at first", hello(0))
		for i := range 10 { // longer than any of the server's timeouts
			f.want("in silence", event{Comment: true})
			if got, want := time.Since(began), time.Duration(i+1)*15*time.Second; got != want {
				t.Fatalf("comment %d after %s, want %s", i, got, want)
			}
		}
		made := p.make1(`"slug":"late"`)
		f.want("after the silence", changed(1, made, "created", "late", ""))

		p.revoke(control.RoleEdge)
		if e, open := f.next(); open {
			t.Errorf("with a revoked key: %+v", e)
		}
	})
}

// revoke revokes the keys with the role.
func (p *plant) revoke(role control.Role) {
	p.t.Helper()
	keys, err := p.plane.Keys(p.t.Context())
	if err != nil {
		p.t.Fatal(err)
	}
	for _, k := range keys {
		if k.Role == role {
			if err := p.plane.RevokeKey(p.t.Context(), k.ID); err != nil {
				p.t.Fatal(err)
			}
		}
	}
}

// A revoked key hears no more, however much there is to hear.
func TestEventsOfABusyPlaneEndWithTheKey(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPlant(t)
		client, end := inMemory(p)
		defer end()
		made := p.make1(`"slug":"busy"`)
		f := p.follow(client, "http://control/api/events")
		var changing sync.WaitGroup
		defer changing.Wait()
		enough := make(chan struct{})
		defer close(enough)
		changing.Go(func() {
			for n := range 100 {
				select {
				case <-time.After(5 * time.Second):
				case <-enough:
					return
				}
				if _, err := p.plane.ChangeTunnel(t.Context(), tunnel.ID(made["tunnel_id"].(string)), func(t *control.Tunnel) error {
					t.Name = fmt.Sprint(n)
					return nil
				}); err != nil {
					t.Error(err)
				}
			}
		})
		f.want("at first", hello(1))
		for n := range 10 { // several looks at the key
			for e := (event{Comment: true}); e.Comment; {
				e, _ = f.next()
				if want := changed(n+2, made, "changed", "busy", ""); !e.Comment && e != want {
					t.Fatalf("got %+v, want %+v", e, want)
				}
			}
		}
		p.revoke(control.RoleEdge)
		revoked := time.Now()
		for open := true; open; _, open = f.next() {
			if after := time.Since(revoked); after > 15*time.Second {
				t.Fatalf("still open %s after the key was revoked", after)
			}
		}
	})
}

// A reader that takes nothing is cut after 10 s, and nothing is kept for it.
func TestEventsCutASlowReader(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPlant(t, func(o *api.Options) { o.MaxStreams = 1 })
		l := newPipes()
		server := &http.Server{Handler: p.api}
		var serving sync.WaitGroup
		serving.Go(func() { _ = server.Serve(l) })
		defer serving.Wait()
		defer func() { _ = server.Close() }()
		conn, err := l.dial(t.Context(), "", "")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		if _, err := fmt.Fprintf(conn, "GET /api/events HTTP/1.1\r\nHost: control\r\nAuthorization: Bearer %s\r\n\r\n", p.key(control.RoleEdge)); err != nil {
			t.Fatal(err)
		}
		synctest.Wait() // it writes into a pipe that nobody reads
		if a := p.ask(control.RoleEdge, "HEAD", "/api/events", ""); a.status != http.StatusServiceUnavailable {
			t.Fatalf("its place is free at once: %d", a.status)
		}
		time.Sleep(10*time.Second + time.Millisecond) // the bubble's clock
		synctest.Wait()
		if a := p.ask(control.RoleEdge, "HEAD", "/api/events", ""); a.status == http.StatusServiceUnavailable {
			t.Errorf("its place is still taken")
		}
	})
}
