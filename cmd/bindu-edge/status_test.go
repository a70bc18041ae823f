package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/charmbracelet/x/ansi"
	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/getbindu/bindu-edge/internal/config"
	"github.com/getbindu/bindu-edge/internal/podstatus"
)

// withPod gives a script something that answers at ADMIN_ADDR: `pod FILE` with
// what is in the file, whatever is asked for but another path than /status, and
// `pod STATUS` with a status alone. QUERY is the file that the query is written to.
func withPod(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: pod FILE or STATUS")
	}
	status, text := 200, ""
	if _, err := fmt.Sscanf(args[0], "%d", &status); err != nil {
		text = ts.ReadFile(args[0])
	}
	query := ts.MkAbs("query")
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != podstatus.Path || r.Method != http.MethodGet {
			w.WriteHeader(http.StatusTeapot)
			return
		}
		_ = os.WriteFile(query, []byte(r.URL.RawQuery+"\n"), 0o600) // the script finds out
		w.WriteHeader(status)
		_, _ = io.WriteString(w, text)
	}))
	ts.Defer(server.Close)
	ts.Setenv("ADMIN_ADDR", server.Listener.Addr().String())
}

// busy is a pod with some of everything.
func busy() podstatus.Status {
	noon := time.Date(2027, 1, 31, 12, 0, 0, 0, time.UTC)
	before := func(d time.Duration) time.Time { return noon.Add(3*time.Hour - d) }
	return podstatus.Status{
		Pod: podstatus.Pod{
			ID: "edge-0-1a2b3c4d", Version: "v1.2.3", StartedAt: noon, Uptime: (3 * time.Hour).Seconds(),
			Status: "degraded", Ready: true, Why: []string{"registry is away"},
		},
		Requests: podstatus.Requests{InFlight: 12, AtAgents: 9},
		Registry: podstatus.Registry{
			Kind: "redis", Claims: 2, RefreshedAt: before(7 * time.Second), HeldUntil: before(-8 * time.Second),
		},
		Dependencies: []podstatus.Dependency{
			{Name: "control_plane", State: "ok", Since: noon, LastOK: before(time.Second), Latency: new(1.234)},
			{Name: "registry", State: "away", Since: before(6 * time.Second), LastOK: before(8 * time.Second), Latency: new(0.2), Error: "ping redis: connection refused", ErrorAt: before(time.Second)},
			{Name: "relay", State: "unknown"},
		},
		Peers: podstatus.Peers{Carrier: "direct", List: []podstatus.Peer{
			{Pod: "edge-1-5e6f7a8b", Address: "10.0.0.7:7070", Connected: true, Since: before(time.Minute), InFlight: 3, Unread: 2 << 20, Inbound: 1},
			{Pod: "edge-2-9c0d1e2f", Error: "no connection within 2s", ErrorAt: before(20 * time.Second)},
		}},
		Tunnels: podstatus.Tunnels{Total: 5000, H2: 4999, JSON: 1, Streams: 12, Unread: 3 << 20, Found: 5000, List: []podstatus.Tunnel{
			{ID: "6d3qt2q3ku8pszp8fn2z", Slug: "demo", Protocol: "h2", Since: before(2 * time.Minute), Remote: "192.0.2.7:50338", Agent: "bindu-edge/v1.2.3", InFlight: 9, Requests: 12345, Streams: 9, Unread: 1536},
			{ID: "b7t29d8v46byg4vni9sq", Slug: "b7t29d8v46byg4vni9sq", Protocol: "json", Since: before(50 * time.Hour), Remote: "[2001:db8::1]:47070", Agent: "x\x1b[2Jy"},
			{ID: "t3", Protocol: "h2", Since: before(-time.Second), Remote: "192.0.2.8:1"},
		}},
		LinkEnds: []podstatus.LinkEnd{
			{Tunnel: "vfb2ek3p4b65r3ymebna", Protocol: "h2", Reason: "lost", Detail: "read: connection reset by peer", Since: before(time.Hour), EndedAt: before(5 * time.Second), Lasted: 3595, Remote: "192.0.2.9:7"},
			{Tunnel: "t3", Protocol: "json", Reason: "agent_left", EndedAt: before(time.Minute), Lasted: 0.4, Remote: "192.0.2.8:2"},
		},
		Memory: podstatus.Memory{Heap: 41 << 20, Used: 60<<20 + 1<<19, Limit: 460 << 20, Pressure: true, Goroutines: 340},
	}
}

const busyTables = `pod       edge-0-1a2b3c4d, v1.2.3, up 3h
status    degraded: registry is away
requests  12 in flight at this door, 9 at agents of this pod
tunnels   5000: 4999 h2, 1 json; 12 streams, 3.0MiB unread
registry  redis, claims: 2, not connected, lease refreshed 7s ago, stands for 8s
memory    41MiB heap, 60MiB in all of 460MiB, 340 goroutines: short, new work is refused

DEPENDENCY     STATE    FOR  LAST OK  TOOK   LAST ERROR
control_plane  ok       3h   1s ago   1.2ms  -
registry       away     6s   8s ago   0.2ms  1s ago: ping redis: connection refused
relay          unknown  -    -        -      -

PEER             BY      CONNECTED  HOPS  UNREAD  INBOUND  ADDRESS        LAST ERROR
edge-1-5e6f7a8b  direct  1m         3     2.0MiB  1        10.0.0.7:7070  -
edge-2-9c0d1e2f  direct  no         0     0B      0        -              20s ago: no connection within 2s

TUNNEL                SLUG    BY    UP  NOW  TOTAL  UNREAD  FROM                 AGENT
6d3qt2q3ku8pszp8fn2z  demo    h2    2m  9    12345  1.5KiB  192.0.2.7:50338      bindu-edge/v1.2.3
b7t29d8v46byg4vni9sq  (same)  json  2d  0    0      0B      [2001:db8::1]:47070  x\x1b[2Jy
t3                    -       h2    0s  0    0      0B      192.0.2.8:1          -

LINK ENDED  TUNNEL                BY    REASON      LASTED  FROM         DETAIL
5s ago      vfb2ek3p4b65r3ymebna  h2    lost        1h      192.0.2.9:7  read: connection reset by peer
1m ago      t3                    json  agent_left  0s      192.0.2.8:2  -

4997 more tunnels are not listed: --tunnels N, --tunnel ID, --sort in_flight`

// The tables say everything, as text where there is no terminal; on one the lines
// fit, and what needs a look has a colour.
func TestStatusTables(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	if diff := cmp.Diff(busyTables, strings.Join(statusLines(newPaper(&out), busy(), 10), "\n")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	screen := &paper{w: bufio.NewWriter(&out), colour: true, width: 80}
	var lines []string
	for _, line := range statusLines(screen, busy(), 1) {
		line = screen.fit(line)
		if width := ansi.StringWidth(line); width > 80 {
			t.Errorf("%d columns: %s", width, line)
		}
		lines = append(lines, line)
	}
	text := strings.Join(lines, "\n")
	for _, want := range []string{"\x1b[33mdegraded", "\x1b[31maway\x1b[0m", "\x1b[32mok\x1b[0m", "\x1b[31mno\x1b[0m", "\x1b[33mlost\x1b[0m", "\x1b[31m41MiB heap"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if strings.Contains(text, "agent_left") || strings.Contains(text, "\x1b[2J") {
		t.Error("it shows more than it should")
	}
}

// A pod with nothing to tell of has no empty tables.
func TestStatusOfAnIdlePod(t *testing.T) {
	t.Parallel()
	s := podstatus.Status{Pod: podstatus.Pod{ID: "p", Version: "dev", Status: "ready", Ready: true}, Registry: podstatus.Registry{Kind: "memory", Connected: true}}
	want := `pod       p, dev, up 0s
status    ready
requests  0 in flight at this door, 0 at agents of this pod
tunnels   0: 0 h2, 0 json; 0 streams, 0B unread
registry  memory, claims: 0
memory    0B heap, 0B in all, 0 goroutines`
	if diff := cmp.Diff(want, strings.Join(statusLines(newPaper(io.Discard), s, 10), "\n")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestStatusAddress(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ name, input, want string }{
		{"an address", "10.0.0.7:9090", "http://10.0.0.7:9090/status"},
		{"every address", ":9090", "http://127.0.0.1:9090/status"},
		{"every address of IPv4", "0.0.0.0:9091", "http://127.0.0.1:9091/status"},
		{"every address of IPv6", "[::]:9091", "http://localhost:9091/status"},
		{"IPv6", "[::1]:9090", "http://[::1]:9090/status"},
		{"a name", "edge:9090", "http://edge:9090/status"},
		{"any port", "127.0.0.1:0", "--addr: names no port: give the one that the pod listens at"},
		{"none", "", "--addr: none: a pod without an admin listener can't be asked; give --addr for another one"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			at, err := (&statusCmd{Addr: row.input}).address(config.NewLoader(config.LoaderOptions{}))
			got := fmt.Sprint(at)
			if err != nil {
				got = err.Error()
			}
			if got != row.want {
				t.Errorf("got %s, want %s", got, row.want)
			}
		})
	}
}

func TestSize(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		input int64
		want  string
	}{
		{0, "0B"}, {999, "999B"}, {1000, "1.0KiB"}, {1536, "1.5KiB"}, {10 << 10, "10KiB"}, {999 << 10, "999KiB"},
		{1 << 20, "1.0MiB"}, {41 << 20, "41MiB"}, {3 << 30, "3.0GiB"}, {5 << 40, "5.0TiB"}, {5000 << 40, "5000TiB"},
	} {
		if got := size(row.input); got != row.want {
			t.Errorf("size(%d) = %s, want %s", row.input, got, row.want)
		}
	}
}

// asked is a pod that answers, or is away.
type asked struct {
	answers string // a letter for each time it is asked: o = answers, x = does not
	stop    func() // called after the last; nil: that goes on
	times   int
}

var errNoPod = &advice{code: exitFailed, msg: "no pod answers"}

func (a *asked) ask(ctx context.Context) (s podstatus.Status, raw json.RawMessage, err error) {
	if a.times < len(a.answers) {
		a.times++
	} else if a.stop != nil {
		a.stop()
		return s, nil, ctx.Err()
	}
	if a.answers[a.times-1] == 'x' {
		return s, nil, errNoPod
	}
	return busy(), json.RawMessage("{\n  \"pod\": {}\n}"), nil
}

// Without a terminal --watch prints the tables, or a line of JSON, again and
// again, and waits for a pod that goes away.
func TestWatchStatus(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name string
		json bool
		want string
	}{
		{"tables", false, "--- 2000-01-01T00:00:00Z\n" + busyTables + "\n--- 2000-01-01T00:00:02Z\n" + busyTables + "\n--- 2000-01-01T00:00:08Z\n" + busyTables + "\n"},
		{"JSON", true, `{"pod":{}}` + "\n" + `{"pod":{}}` + "\n" + `{"pod":{}}` + "\n"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				pod := &asked{answers: "ooxxo", stop: cancel}
				var out, problems strings.Builder
				p := &process{nil, &out, &problems, config.NewLoader(config.LoaderOptions{})}
				if err := watchStatus(ctx, p, pod.ask, 2*time.Second, row.json, 10); err != nil {
					t.Error(err)
				}
				if diff := cmp.Diff(row.want, out.String()); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
				if problems.String() != "no pod answers; waiting for it\n" {
					t.Errorf("it said %q", problems.String())
				}
			})
		})
	}
}

// A pod that is not there from the start is an error at once.
func TestWatchNoPod(t *testing.T) {
	t.Parallel()
	p := &process{nil, io.Discard, io.Discard, config.NewLoader(config.LoaderOptions{})}
	if err := watchStatus(t.Context(), p, (&asked{answers: "x"}).ask, time.Hour, false, 10); !errors.Is(err, errNoPod) {
		t.Errorf("got %v", err)
	}
}
