package e2e

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/net/http2"
)

// boastfulAgent links an agent that answers each request with a header of size bytes
// and nothing else, and counts its answers.
func boastfulAgent(t *testing.T, e *edge, c credentials, size int, answered *atomic.Int64) {
	t.Helper()
	const fragment = 60 << 10
	value := strings.Repeat("~", size) // which no coding makes shorter
	answer := func(f *framer, stream uint32) error {
		block := f.header(":status", "200", "x-large", value)
		first := true
		for part := range slices.Chunk(block, fragment) {
			block = block[len(part):]
			var err error
			if end := len(block) == 0; first {
				err = f.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: part, EndHeaders: end, EndStream: true})
			} else {
				err = f.WriteContinuation(stream, end, part)
			}
			if err != nil {
				return err
			}
			first = false
		}
		answered.Add(1)
		return nil
	}
	framedAgent(t, e, c, answer)
}

// Answers that are a large header each wait for callers who read nothing, as many as
// there is memory for, at the pod that has these callers. The others are cut, and
// other tunnels are served.
func TestHeadersThatNobodyTakes(t *testing.T) {
	t.Parallel()
	const limit, size, callers = 160 * mib, 240 << 10, 420 // twice what there is room for
	const room = limit / 3
	program, err := plainBinary()
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		name string
		pods int
	}{
		{"at the owner", 1},
		{"at the door", 2},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			w := &world{plane: startPlane(t)}
			env := []string{"GOMEMLIMIT=160MiB", "CALLER_STALL_SECONDS=300"}
			if row.pods > 1 {
				env = append(startRedis(t).env("RELAY=direct", "PEER_SECRET="+peerSecret), env...)
			}
			var pods []*edge
			for range row.pods {
				own := append(slices.Clone(env), fmt.Sprint("PEER_ADDR=127.0.0.1:", freePort(t)))
				pods = append(pods, runEdge(t, program, edgeEnv(t, w.plane, own...)))
			}
			holder := pods[0]
			w.edge = pods[row.pods-1]
			w.cred = w.plane.create(t, "")
			var answered atomic.Int64
			boastfulAgent(t, holder, w.cred, size, &answered)
			beside := w.plane.create(t, "")
			startAgent(t, holder, beside, startOrigin(t, http.HandlerFunc(echo)))
			if got := status(t, w.edge.path(beside, "/")); got != http.StatusOK {
				t.Fatalf("the other tunnel before: %d", got)
			}
			if got := get(t, w.url("/")); got.StatusCode != http.StatusOK || len(got.Header.Get("X-Large")) != size {
				t.Fatalf("before: %d, %d bytes of header", got.StatusCode, len(got.Header.Get("X-Large")))
			}
			before := w.edge.memory("VmRSS")
			for range callers {
				c := dialRaw(t, w.edge)
				c.narrow()
				for range 4 { // the system may take the first ones
					c.send(w.on("GET", "/"))
				}
			}
			most := 0.0
			eventually(t, "those that don't fit are cut", func() bool {
				series := scrape(t, w.edge).series
				// A body whose length is not known counts there for all that it could hold.
				most = max(most, series["bindu_edge_buffered_bytes"])
				return answered.Load() > callers && series["bindu_edge_requests_in_flight"] <= room/size
			})
			served := false
			eventually(t, "another tunnel is served", func() bool {
				served = served || status(t, w.edge.path(beside, "/")) == http.StatusOK
				return served
			})
			peak := w.edge.memory("VmHWM")
			t.Logf("the pod had %d MiB and came to %d; at most %.0f MiB waited", before>>20, peak>>20, most/mib)
			if most < room/2 {
				t.Errorf("%.0f bytes waited at most, which proves nothing", most)
			}
			if peak > before+limit {
				t.Errorf("it has grown by %d bytes, with a limit of %d", peak-before, limit)
			}
		})
	}
}
