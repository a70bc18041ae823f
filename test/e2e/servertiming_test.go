package e2e

import (
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
)

// durations reads the last Server-Timing field, in milliseconds by name.
func durations(t *testing.T, a answer) map[string]float64 {
	t.Helper()
	found := map[string]float64{}
	fields := a.Header["Server-Timing"]
	if len(fields) == 0 {
		return found
	}
	for part := range strings.SplitSeq(fields[len(fields)-1], ",") {
		name, text, _ := strings.Cut(strings.TrimSpace(part), ";dur=")
		n, err := strconv.ParseFloat(text, 64)
		if err != nil || n < 0 {
			t.Errorf("%q is no duration", part)
		}
		found[name] = n
	}
	return found
}

// A caller is told where the time went, by both doors and for both protocols. The
// agent, whatever it says of it, has no part in the figures.
func TestServerTiming(t *testing.T) {
	t.Parallel()
	const slow = 150 * time.Millisecond
	origin := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		<-time.After(slow)
		w.Header().Set("Server-Timing", "db;dur=1")
		w.Header().Set("Bindu-Agent-Time", "0")
		w.Header().Set("Bindu-Hop-Time", "0")
		_, _ = io.WriteString(w, "ok")
	})
	w := startRelayed(t, "direct", origin, "SERVER_TIMING=true")
	other := w.plane.create(t, "")
	startAgent(t, w.owner, other, startOrigin(t, origin), "--protocol=json")
	for _, row := range []struct {
		name string
		at   *edge
		to   credentials
		hop  bool
	}{
		{"h2 on one pod", w.owner, w.cred, false},
		{"h2 on two pods", w.edge, w.cred, true},
		{"JSON on one pod", w.owner, other, false},
		{"JSON on two pods", w.edge, other, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			for _, body := range []string{"", "a body"} {
				// When the request was handed over is known a moment late, on a busy
				// machine by more than the agent takes.
				eventually(t, "the agent's time is told", func() bool {
					began := time.Now()
					a := do(t, request(t.Context(), t, http.MethodPost, row.at.path(row.to, "/"), strings.NewReader(body)))
					whole := float64(time.Since(began).Microseconds()+3) / 1000 // each figure is rounded
					if a.StatusCode != http.StatusOK {
						t.Fatalf("%d %s", a.StatusCode, a.body)
					}
					got := durations(t, a)
					if _, hop := got["hop"]; hop != row.hop || len(got) != 2 && !hop || len(got) != 3 && hop {
						t.Fatalf("told %v", a.Header["Server-Timing"])
					}
					if sum := got["edge"] + got["hop"] + got["agent"]; sum > whole {
						t.Fatalf("of %v ms: %v", whole, got)
					}
					if fields := a.Header["Server-Timing"]; len(fields) != 2 || fields[0] != "db;dur=1" {
						t.Fatalf("the agent's own field: %q", fields)
					}
					for name := range a.Header {
						if strings.HasPrefix(name, "Bindu-") {
							t.Fatalf("the caller is told %s", name)
						}
					}
					return got["agent"] >= float64(slow.Milliseconds())
				})
			}
		})
	}
}

func TestServerTimingIsOff(t *testing.T) {
	t.Parallel()
	w := startRelayed(t, "direct", http.HandlerFunc(echo))
	for _, at := range []*edge{w.owner, w.edge} {
		if a := get(t, at.path(w.cred, "/")); a.StatusCode != http.StatusOK || a.Header["Server-Timing"] != nil {
			t.Errorf("%d with %q", a.StatusCode, a.Header["Server-Timing"])
		}
	}
}
