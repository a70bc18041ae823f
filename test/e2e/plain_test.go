package e2e

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// plainBinary is the program as it ships: the race detector would multiply what
// the tests of memory measure. It is built when the first of them asks.
var plainBinary = sync.OnceValues(func() (string, error) {
	name := filepath.Join(filepath.Dir(binary), "bindu-edge-plain")
	if text, err := exec.Command("go", "build", "-o", name, "../../cmd/bindu-edge").CombinedOutput(); err != nil {
		return "", fmt.Errorf("build: %w\n%s", err, text)
	}
	return name, nil
})

// startPlainWorld is startWorld with the program as it ships.
func startPlainWorld(t *testing.T, origin http.Handler, env ...string) *world {
	t.Helper()
	program, err := plainBinary()
	if err != nil {
		t.Fatal(err)
	}
	w := &world{plane: startPlane(t)}
	w.edge = runEdge(t, program, edgeEnv(t, w.plane, env...))
	w.cred = w.plane.create(t, "")
	w.agent = startProgram(t, "agent", program, []string{
		"BINDU_EDGE_URL=" + w.edge.url, "BINDU_TUNNEL_ID=" + string(w.cred.id), "BINDU_TUNNEL_TOKEN=" + w.cred.token,
	}, "http", startOrigin(t, origin), "--no-ui", "--log-format=json")
	w.agent.waitLine("STATUS online", 1)
	return w
}

// memory is a figure of /proc/PID/status in bytes: VmRSS is what the process
// has now, VmHWM the most it had since forgetPeak.
func (p *process) memory(field string) int64 {
	p.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.PID()))
	if err != nil {
		p.t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, field+":"); ok {
			kb, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			if err != nil {
				p.t.Fatal(err)
			}
			return kb << 10
		}
	}
	p.t.Fatalf("%s has no %s", p.Name, field)
	return 0
}

func (p *process) forgetPeak() {
	p.t.Helper()
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", p.PID()), []byte("5"), 0); err != nil {
		p.t.Fatal(err)
	}
}

// metrics are the edge's own, by name. With gc the garbage has been collected
// before, and what pools keep for a while as well.
func (e *edge) metrics(gc bool) map[string]float64 {
	e.t.Helper()
	if gc {
		for range 3 { // a sync.Pool lets go at the second
			if got := status(e.t, e.admin+"/debug/pprof/heap?gc=1"); got != http.StatusOK {
				e.t.Fatalf("the heap profile: %d", got)
			}
		}
	}
	res, err := client.Do(request(e.t.Context(), e.t, http.MethodGet, e.admin+"/metrics", nil))
	if err != nil {
		e.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	found := map[string]float64{}
	lines := bufio.NewScanner(res.Body)
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), " ")
		if number, err := strconv.ParseFloat(value, 64); err == nil {
			found[name] = number
		}
	}
	if err := lines.Err(); err != nil {
		e.t.Fatal(err)
	}
	if found["go_goroutines"] == 0 || found["go_memstats_heap_alloc_bytes"] == 0 {
		e.t.Fatal("the metrics do not tell of goroutines and heap")
	}
	return found
}

const mib = 1 << 20

// pattern reads as a body of some length that nobody has to hold in memory: it
// repeats nowhere, since each block begins with its number.
type pattern struct {
	left  int64
	block [64 << 10]byte
	rest  []byte // of block
	n     uint64
}

func newPattern(size int64) *pattern {
	p := &pattern{left: size}
	copy(p.block[:], noise(len(p.block)))
	return p
}

func (p *pattern) Read(b []byte) (int, error) {
	if p.left == 0 {
		return 0, io.EOF
	}
	if len(p.rest) == 0 {
		copy(p.block[:], fmt.Sprintf("%016x", p.n))
		p.n++
		p.rest = p.block[:]
	}
	n := copy(b[:min(int64(len(b)), p.left)], p.rest)
	p.rest = p.rest[n:]
	p.left -= int64(n)
	return n, nil
}
