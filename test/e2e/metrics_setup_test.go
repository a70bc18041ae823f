package e2e

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// family is one metric as a scrape shows it.
type family struct {
	kind   string
	labels map[string]map[string]bool // the values of each
}

// scraped is one scrape.
type scraped struct {
	families map[string]*family
	series   map[string]float64 // by name and labels, as written
}

var (
	sampleLine = regexp.MustCompile(`^([a-zA-Z_:][a-zA-Z0-9_:]*)(\{.*\})? (\S+)$`)
	labelPair  = regexp.MustCompile(`([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"`)
)

// scrape reads the metrics of a pod. What is not in the text format is an error.
func scrape(t *testing.T, e *edge) scraped {
	t.Helper()
	res, err := client.Do(request(t.Context(), t, http.MethodGet, e.admin+"/metrics", nil))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	s := scraped{map[string]*family{}, map[string]float64{}}
	var last string // the family that the lines belong to
	lines := bufio.NewScanner(res.Body)
	for lines.Scan() {
		line := lines.Text()
		if words := strings.Fields(line); words[0] == "#" {
			if words[1] == "TYPE" {
				last = words[2]
				s.families[last] = &family{kind: words[3], labels: map[string]map[string]bool{}}
			}
			continue
		}
		parts := sampleLine.FindStringSubmatch(line)
		if parts == nil || last == "" || !strings.HasPrefix(parts[1], last) {
			t.Fatalf("a line that is no sample of %q: %q", last, line)
		}
		value, err := strconv.ParseFloat(parts[3], 64)
		if err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		s.series[parts[1]+parts[2]] = value
		for _, pair := range labelPair.FindAllStringSubmatch(parts[2], -1) {
			of := s.families[last].labels
			if of[pair[1]] == nil {
				of[pair[1]] = map[string]bool{}
			}
			of[pair[1]][pair[2]] = true
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return s
}

// ofRuntime reports whether a metric is one of the Go runtime's or the process's,
// which are not ours to keep.
func ofRuntime(name string) bool {
	return strings.HasPrefix(name, "go_") || strings.HasPrefix(name, "process_")
}

// String lists the metrics: name and type, and each label with its values.
func (s scraped) String() string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(s.families)) {
		f := s.families[name]
		if ofRuntime(name) {
			fmt.Fprintln(&b, name)
			continue
		}
		fmt.Fprintln(&b, name, f.kind)
		for _, label := range slices.Sorted(maps.Keys(f.labels)) {
			values := slices.Sorted(maps.Keys(f.labels[label]))
			switch label {
			case "version":
				values = []string{"*"} // one
			case "le":
				slices.SortFunc(values, func(a, b string) int {
					x, _ := strconv.ParseFloat(a, 64)
					y, _ := strconv.ParseFloat(b, 64)
					return cmp.Compare(x, y)
				})
			}
			fmt.Fprintf(&b, "  %s: %s\n", label, strings.Join(values, " "))
		}
	}
	return b.String()
}

// metered is two pods with everything on that counts, on a control plane that
// takes reports and gives events: agents are at the owner, callers at the door. The
// door traces to where nobody is.
type metered struct {
	office      *office
	owner, door *edge
	held        *held
	h2, json    credentials
	origin      string
}

func startMetered(t *testing.T) *metered {
	t.Helper()
	m := &metered{office: startOffice(t), held: newHeld()}
	redis := startRedis(t)
	var pods []*edge
	for _, traces := range [][]string{nil, {fmt.Sprint("OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:", freePort(t)), "OTEL_BSP_SCHEDULE_DELAY=50"}} {
		pods = append(pods, startEdge(t, nil, slices.Concat(m.office.env(), traces, redis.env(
			"PEER_SECRET="+peerSecret, fmt.Sprint("PEER_ADDR=127.0.0.1:", freePort(t)),
			"TRUSTED_PROXIES=127.0.0.1", // so that callers have addresses of their own
			"EPHEMERAL_TUNNELS=true", "MAX_REQUEST_BODY_BYTES=10000",
		))...))
	}
	m.owner, m.door = pods[0], pods[1]
	mux := http.NewServeMux()
	mux.Handle("/", m.held)
	mux.HandleFunc("/socket", sockets(make(chan struct{}, 10_000)))
	mux.HandleFunc("/status/{code}", func(w http.ResponseWriter, r *http.Request) {
		code, err := strconv.Atoi(r.PathValue("code"))
		if err != nil {
			code = http.StatusTeapot
		}
		w.WriteHeader(code)
	})
	mux.HandleFunc("/broken", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "begun")
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	})
	mux.HandleFunc("/flood", func(w http.ResponseWriter, _ *http.Request) {
		some := noise(64 << 10)
		for {
			if _, err := w.Write(some); err != nil {
				return
			}
		}
	})
	m.origin = startOrigin(t, mux)
	m.h2, m.json = m.office.create(`"slug":"streams"`), m.office.create(`"slug":"messages"`)
	startAgent(t, m.owner, m.h2, m.origin)
	startAgent(t, m.owner, m.json, m.origin, "--protocol=json")
	return m
}

// post asks through a pod with a body.
func (m *metered) post(t *testing.T, at *edge, path, body string) answer {
	t.Helper()
	return do(t, request(t.Context(), t, http.MethodPost, at.path(m.h2, path), strings.NewReader(body)))
}

// hold begins a request that does not end before release.
func (m *metered) hold(t *testing.T, at *edge) (release func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := ask(request(ctx, t, http.MethodGet, at.path(m.h2, "/held"), nil))
	receive(t, "the request is held", m.held.arrived)
	return func() {
		cancel()
		receive(t, "the request has ended", done)
		receive(t, "and so it has at the agent", m.held.left)
	}
}

// upgrade opens a WebSocket that stays open until release.
func (m *metered) upgrade(t *testing.T, at *edge) (release func()) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	ws, _, err := websocket.Dial(ctx, at.path(m.h2, "/socket"), nil)
	if err != nil {
		t.Fatal(err)
	}
	return func() { _ = ws.Close(websocket.StatusNormalClosure, "") }
}

// link opens one more tunnel, that of a JSON agent which is not ours.
func (m *metered) link(t *testing.T) *rawAgent {
	t.Helper()
	return dialJSON(t, m.owner, m.office.create(fmt.Sprintf(`"name":"link %d"`, time.Now().UnixNano())), nil)
}
