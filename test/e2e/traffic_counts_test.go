package e2e

import (
	"net/http"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// traffic adds up what the control plane shows of a tunnel's last hour.
func (o *office) traffic(c credentials) (requests, errors, refused float64) {
	o.t.Helper()
	minutes, _ := o.call("GET", tunnelPath(c)+"/traffic", "", http.StatusOK)["minutes"].([]any)
	if len(minutes) != 60 {
		o.t.Fatalf("%d minutes", len(minutes))
	}
	for _, m := range minutes {
		minute, _ := m.(map[string]any)
		number := func(name string) float64 { n, _ := minute[name].(float64); return n }
		requests, errors, refused = requests+number("requests"), errors+number("errors"), refused+number("refused")
	}
	return requests, errors, refused
}

// history is what the control plane shows of a tunnel's links, newest first.
func (o *office) history(c credentials) (lines []string) {
	o.t.Helper()
	moments, _ := o.call("GET", tunnelPath(c)+"/history", "", http.StatusOK)["moments"].([]any)
	for _, m := range moments {
		moment, _ := m.(map[string]any)
		text := func(name string) string { s, _ := moment[name].(string); return s }
		lines = append(lines, strings.TrimSpace(text("state")+" "+text("protocol")+" "+text("reason")))
		if text("pod_id") == "" || text("at") == "" {
			o.t.Errorf("a moment without pod or time: %v", moment)
		}
	}
	return lines
}

func countedOrigin() *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("/fail", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) })
	mux.HandleFunc("/never", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	mux.HandleFunc("/{$}", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	return mux
}

// The control plane shows what came to a tunnel, each request once, whichever pod
// it came in at, and when its links opened, closed and were refused.
func TestTrafficOfTwoPods(t *testing.T) {
	t.Parallel()
	o := startOffice(t)
	owner, door := o.pods()
	c := o.create(`"limits":{"body_bytes":10}`)
	wantError(t, get(t, door.path(c, "/")), 503, "tunnel_offline") // met no agent, so it does not count
	a := startAgent(t, owner, c, startOrigin(t, countedOrigin()))
	for _, row := range []struct {
		pod    *edge
		path   string
		body   string
		status int
	}{
		{owner, "/", "", 204},
		{owner, "/", "", 204},
		{door, "/", "", 204},
		{door, "/", "0123456789", 204},
		{door, "/missing", "", 404},
		{door, "/fail", "", 500},
		{owner, "/fail", "", 500},
		{door, "/", "0123456789a", 413},
		{owner, "/", "0123456789a", 413},
		{owner, "/", "0123456789a", 413},
	} {
		if got := do(t, request(t.Context(), t, "POST", row.pod.path(c, row.path), strings.NewReader(row.body))); got.StatusCode != row.status {
			t.Fatalf("%s: %d, want %d", row.path, got.StatusCode, row.status)
		}
	}
	eventually(t, "the control plane shows all requests", func() bool {
		requests, errors, refused := o.traffic(c)
		if requests > 10 || errors > 2 || refused > 3 {
			t.Fatalf("%v requests, %v errors, %v refused", requests, errors, refused)
		}
		return requests == 10 && errors == 2 && refused == 3
	})

	wrong := c
	wrong.token = o.create("").token
	path, header := opens(wrong, "")
	wantRefusal(t, knock(t, door, path, header), 401, "unauthorized")
	a.signal(syscall.SIGTERM)
	a.wait()
	eventually(t, "the history has what happened", func() bool { return len(o.history(c)) == 3 })
	want := map[string]bool{"connected h2": true, "refused h2 unauthorized": true, "closed h2 agent_left": true}
	got := map[string]bool{}
	for _, line := range o.history(c) {
		got[line] = true
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("history (-want +got):\n%s", diff)
	}
	if said := o.link(c)["last_error"]; said != "unauthorized" {
		t.Errorf("last error %v", said) // a goodbye is none
	}
}

// A pod that goes tells the last of its counts, and a control plane that was away
// hears of what happened meanwhile.
func TestTrafficToldLate(t *testing.T) {
	t.Parallel()
	o := startOffice(t)
	pod := startEdge(t, nil, o.env("REQUEST_TIMEOUT_SECONDS=3")...)
	c := o.create("")
	startAgent(t, pod, c, startOrigin(t, countedOrigin()))
	eventually(t, "the control plane knows of the link", func() bool { return len(o.history(c)) == 1 })
	want := func(path string, status int) {
		t.Helper()
		if got := get(t, pod.path(c, path)); got.StatusCode != status {
			t.Fatalf("answer %d, want %d", got.StatusCode, status)
		}
	}
	want("/", 204) // the pod knows the slug from then on
	o.close()
	want("/", 204)
	o.open(o.port)
	eventually(t, "the control plane shows the requests", func() bool { requests, _, _ := o.traffic(c); return requests == 2 })
	want("/fail", 500)
	want("/never", 504)
	pod.signal(syscall.SIGTERM)
	if code := pod.wait(); code != 0 {
		t.Errorf("the pod's exit code is %d", code)
	}
	if requests, errors, refused := o.traffic(c); requests != 4 || errors != 2 || refused != 0 {
		t.Errorf("after the pod's end: %v requests, %v errors, %v refused", requests, errors, refused)
	}
	if got := o.history(c); len(got) != 2 || !strings.HasPrefix(got[0], "closed h2 ") || got[1] != "connected h2" {
		t.Errorf("history %q", got)
	}
}
