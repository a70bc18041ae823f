package e2e

import (
	"fmt"
	"net/http"
	"slices"
	"sync/atomic"
	"testing"
	"time"
)

// flood sends until it is cut, and counts that.
func flood(cut *atomic.Int64) http.Handler {
	block := noise(32 << 10)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/endless" {
			echo(w, r)
			return
		}
		for {
			if _, err := w.Write(block); err != nil {
				cut.Add(1)
				return
			}
		}
	})
}

// Hundreds of callers who read nothing could fill twice the memory that a pod has.
// It lives, at the door of a hop as well as where the tunnel's link is, serves
// others meanwhile, and all is well as soon as they have left.
func TestCallersWhoReadNothing(t *testing.T) {
	t.Parallel()
	const limit, callers = 160 * mib, 420 // of 768 KiB each
	env := []string{"GOMEMLIMIT=160MiB", "CALLER_STALL_SECONDS=300"}
	program, err := plainBinary()
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		name string
		pods int // the callers are at the last one, the links at the first
	}{
		{"at the owner", 1},
		{"at the door", 2},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			w := &world{plane: startPlane(t)}
			env := env
			if row.pods > 1 {
				env = append(startRedis(t).env("RELAY=direct", "PEER_SECRET="+peerSecret), env...)
			}
			var pods []*edge
			for range row.pods {
				own := append(slices.Clone(env), fmt.Sprint("PEER_ADDR=127.0.0.1:", freePort(t)))
				pods = append(pods, runEdge(t, program, edgeEnv(t, w.plane, own...)))
			}
			w.edge = pods[row.pods-1]
			link := func(h http.Handler) credentials {
				c := w.plane.create(t, "")
				agent := startProgram(t, "agent", program, []string{
					"BINDU_EDGE_URL=" + pods[0].url, "BINDU_TUNNEL_ID=" + string(c.id), "BINDU_TUNNEL_TOKEN=" + c.token,
				}, "http", startOrigin(t, h), "--no-ui", "--log-format=json")
				agent.waitLine("STATUS online", 1)
				return c
			}
			var cut atomic.Int64
			w.cred = link(flood(&cut))
			beside := link(http.HandlerFunc(echo))
			if got := status(t, w.edge.path(beside, "/")); got != http.StatusOK {
				t.Fatalf("the other tunnel before: %d", got)
			}
			before := make([]int64, len(pods))
			for i, pod := range pods {
				before[i] = pod.memory("VmRSS")
			}

			silent := make([]*wireCaller, callers)
			for i := range silent {
				c := dialRaw(t, w.edge)
				c.narrow()
				c.send(w.on("GET", "/endless"))
				silent[i] = c
			}
			served, overloaded := 0, 0
			eventually(t, "most of them are cut, and the other tunnel is served", func() bool {
				isServed(t, w.edge.path(beside, "/"), &served, &overloaded)
				return cut.Load() > callers/2 && served > 0
			})
			for i, pod := range pods {
				peak := pod.memory("VmHWM")
				t.Logf("pod %d had %d MiB and came to %d; the other tunnel was served %d times, refused %d", i, before[i]>>20, peak>>20, served, overloaded)
				if peak > before[i]+limit {
					t.Errorf("pod %d has grown by %d bytes, with a limit of %d", i, peak-before[i], limit)
				}
			}
			if waiting := scrape(t, w.edge).series["bindu_edge_buffered_bytes"]; waiting < 10*mib {
				t.Errorf("bindu_edge_buffered_bytes is %.0f", waiting)
			}

			for _, c := range silent {
				_ = c.Close()
			}
			left := time.Now()
			eventually(t, "all is well", func() bool {
				ok := status(t, w.url("/")) == http.StatusOK && status(t, w.edge.path(beside, "/")) == http.StatusOK
				for _, pod := range pods {
					ok = ok && scrape(t, pod).series["bindu_edge_buffered_bytes"] == 0
				}
				return ok
			})
			t.Logf("all was well after %s", time.Since(left))
			for range 20 {
				if got := status(t, w.url("/")); got != http.StatusOK {
					t.Errorf("later: %d", got)
				}
			}
		})
	}
}

// isServed asks for something while memory is short, and counts what becomes of it.
func isServed(t *testing.T, url string, served, refused *int) {
	t.Helper()
	got := receive(t, "an answer of another tunnel", ask(request(t.Context(), t, http.MethodGet, url, nil)))
	switch {
	case got.err != nil:
		t.Fatalf("another tunnel: %v", got.err)
	case got.StatusCode == http.StatusOK:
		*served++
	default:
		wantError(t, got.answer, http.StatusServiceUnavailable, "edge_overloaded")
		*refused++
	}
}
