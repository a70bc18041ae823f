package e2e

import (
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/getbindu/bindu-edge/internal/tunnel"
)

var update = flag.Bool("update", false, "write the golden files anew")

const goldenMetrics = "testdata/metrics.golden"

// What a pod tells is a closed list, whatever callers and agents do: the same
// names, labels and values after no traffic, some, and ten times as much.
func TestMetricsAreClosed(t *testing.T) {
	t.Parallel()
	m := startMetered(t)
	before := scrape(t, m.owner)
	if *update {
		if err := os.WriteFile(goldenMetrics, []byte(before.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	golden, err := os.ReadFile(goldenMetrics)
	if err != nil {
		t.Fatal(err)
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	for _, times := range []int{0, 40, 400} {
		for range times {
			m.roam(t, random)
		}
		for _, pod := range []*edge{m.owner, m.door} {
			after := scrape(t, pod)
			if diff := cmp.Diff(string(golden), after.String()); diff != "" {
				t.Fatalf("after %d requests (-want +got; -update if that is meant):\n%s", times, diff)
			}
			if len(after.series) != len(before.series) {
				t.Errorf("after %d requests there are %d series, before any %d", times, len(after.series), len(before.series))
			}
		}
	}
	if n := scrape(t, m.door).series[`bindu_edge_requests_total{class="2xx",outcome="ok"}`]; n == 0 {
		t.Error("none of the requests went well")
	}
}

// anything is text that was never seen before.
func anything(random *rand.Rand) string {
	return fmt.Sprintf("%x", random.Uint64())[:1+random.IntN(10)]
}

// roam is a caller, or somebody who says to be an agent, who does anything at all.
func (m *metered) roam(t *testing.T, random *rand.Rand) {
	t.Helper()
	pick := func(words ...string) string { return words[random.IntN(len(words))] }
	at := []*edge{m.owner, m.door}[random.IntN(2)]
	to := m.h2
	switch random.IntN(5) {
	case 0:
		to = m.json
	case 1:
		to.slug = tunnel.Slug("x" + anything(random))
	}
	switch random.IntN(12) {
	case 0:
		if to == m.h2 {
			m.upgrade(t, at)()
		}
		return
	case 1:
		knock(t, at, "/ws/"+anything(random), http.Header{"X-Tunnel-Token": {anything(random)}, "X-Forwarded-For": {address(random)}, "User-Agent": {anything(random)}})
		return
	case 2:
		c := dialRaw(t, at)
		c.send(strings.ToUpper(anything(random)) + " " + at.path(to, "/"+anything(random))[len(at.url):] + " HTTP/1.1\r\nHost: " + anything(random) + "\r\n\r\n")
		endOf(c)
		return
	case 3:
		c := dialRaw(t, at)
		c.send(anything(random) + "\r\n" + anything(random) + "\r\n\r\n")
		endOf(c)
		return
	}
	method := pick("GET", "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "M"+strings.ToUpper(anything(random)))
	path := pick("/", "/"+anything(random), "/broken", "/status/200", "/status/302", "/status/404", "/status/500", fmt.Sprint("/status/", 200+random.IntN(400))) + "?" + anything(random)
	var body io.Reader
	if method == "POST" || method == "PUT" {
		body = strings.NewReader(strings.Repeat("x", []int{0, 1, 10_000, 10_001, 20_000}[random.IntN(5)]))
	}
	req := request(t.Context(), t, method, at.path(to, path), body)
	req.Header = http.Header{
		"X-Forwarded-For": {address(random)}, "User-Agent": {anything(random)}, "X-" + anything(random): {anything(random)},
		"Accept": {pick("*/*", "text/html", "application/json")}, "Authorization": {anything(random)}, "X-Request-Id": {anything(random)},
	}
	if random.IntN(4) == 0 {
		req.Host = anything(random) + ".example"
	}
	caller := client
	if random.IntN(3) == 0 {
		caller = callerH2(t)
	}
	if res, err := caller.Do(req); err == nil {
		_, _ = io.Copy(io.Discard, res.Body) // it may break off
		_ = res.Body.Close()
	}
}

func address(random *rand.Rand) string {
	return fmt.Sprintf("10.%d.%d.%d", random.IntN(256), random.IntN(256), random.IntN(256))
}
