package stage

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/getbindu/bindu-edge/bench/origin"
	"github.com/getbindu/bindu-edge/bench/usage"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newStage(t *testing.T) *Stage {
	t.Helper()
	s, err := New(Options{Tree: "../..", Progress: t.Logf})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// Close ends a process, its children, and the directory.
func TestCloseLeavesNothing(t *testing.T) {
	t.Parallel()
	s, err := New(Options{Progress: t.Logf})
	if err != nil {
		t.Fatal(err)
	}
	p, err := s.run("shell", []string{"NAME=value"}, "sh", "-c", "sleep 1000 & echo started $NAME; wait")
	if err != nil {
		t.Fatal(err)
	}
	said, err := p.line(t.Context(), "started ")
	if err != nil || said != "value" {
		t.Fatalf("said %q, %v", said, err)
	}
	pids, err := p.PIDs()
	if err != nil || len(pids) != 2 {
		t.Fatalf("processes %v, %v, want the shell and its child", pids, err)
	}
	if p.Ended() {
		t.Error("ended before the end")
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if !p.Ended() {
		t.Error("not ended")
	}
	if _, err := usage.CPU(pids[0]); err == nil {
		t.Errorf("process %d is still there", pids[0])
	}
	// The child is its parent's no more; whoever inherits it may take a moment
	// to bury it, but it has no memory left.
	for begin := time.Now(); ; {
		if _, err := usage.Resident(pids[1]); err != nil {
			break
		}
		if time.Since(begin) > 30*time.Second {
			t.Fatalf("child %d is still there", pids[1])
		}
	}
	if _, err := os.Stat(s.Dir()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the directory: %v", err)
	}
}

// A process that ends instead of becoming ready is an error, with what it said.
func TestProcessThatFails(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	p, err := s.run("shell", nil, "sh", "-c", "echo no such luck >&2; exit 3")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.line(t.Context(), "started "); err == nil || !strings.Contains(err.Error(), "no such luck") || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("error %v", err)
	}
	if _, err := s.run("nothing", nil, "/no/such/program"); err == nil {
		t.Error("a program that is not there is no error")
	}
}

func TestPortsDiffer(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	seen := map[int]bool{}
	for range 20 {
		port, err := s.port()
		if err != nil || seen[port] || port < firstPort || port >= firstPort+portRange {
			t.Fatalf("port %d, %v, after %v", port, err, seen)
		}
		seen[port] = true
	}
}

// The reference carries every kind of work to the right origin, through both
// proxies.
func TestReference(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	var forwarded string
	dynamic := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		forwarded = r.Header.Get("X-Forwarded-For")
		origin.Handler().ServeHTTP(w, r)
	}))
	t.Cleanup(dynamic.Close)
	static, err := s.StaticOrigin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	r, err := s.Reference(t.Context(), static, dynamic.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, method, path, body string
		size                     int64
	}{
		{"small", "GET", "/1k", "", 1 << 10},
		{"large", "GET", "/256m", "", 256 << 20},
		{"upload", "POST", "/upload", "12345", 2},
		{"events", "GET", "/events?n=2&every=1ms", "", 2 * int64(len("data: 1234567890123456789\n\n"))},
	} {
		req, err := http.NewRequestWithContext(t.Context(), tt.method, r.URL+tt.path, strings.NewReader(tt.body))
		if err != nil {
			t.Fatal(err)
		}
		res, err := client.Do(req)
		if err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		n, err := io.Copy(io.Discard, res.Body)
		res.Body.Close()
		if err != nil || res.StatusCode != http.StatusOK || n != tt.size {
			t.Errorf("%s: status %d and %d bytes, %v; want %d", tt.name, res.StatusCode, n, err, tt.size)
		}
	}
	if forwarded != "127.0.0.1, 127.0.0.1" {
		t.Errorf("X-Forwarded-For is %q: not two proxies", forwarded)
	}
	pids, err := r.PIDs()
	if err != nil || len(pids) < 4 {
		t.Errorf("processes %v, %v, want two masters and their workers", pids, err)
	}
	logs, err := filepath.Glob(filepath.Join(s.Dir(), "*.log"))
	if err != nil || len(logs) != 3 {
		t.Errorf("logs %v, %v", logs, err)
	}
}

// Only what a fleet said since a moment counts, and of each tunnel the first.
func TestFleetSaid(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	p, err := s.run("fleet", nil, "printf", "serves a 100\nserves b 150\nnoise\nserves a 200\nserves a 300\nserves c 2")
	if err != nil {
		t.Fatal(err)
	}
	<-p.done
	f := &Fleet{Process: p}
	want := map[string]time.Time{"a": time.Unix(0, 200), "b": time.Unix(0, 150)}
	if diff := cmp.Diff(want, f.served(time.Unix(0, 100))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := f.served(time.Time{}); len(got) != 2 {
		t.Errorf("since ever: %v", got)
	}
}
