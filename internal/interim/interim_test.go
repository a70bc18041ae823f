package interim_test

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"github.com/getbindu/bindu-edge/internal/interim"
)

// slow is a writer whose WriteHeader waits until somebody lets it go on.
type slow struct {
	http.ResponseWriter // not used
	header              http.Header
	next                chan struct{}
	wrote               []http.Header
	statuses            []int
}

func (s *slow) Header() http.Header { return s.header }

func (s *slow) WriteHeader(status int) {
	<-s.next
	s.statuses = append(s.statuses, status)
	s.wrote = append(s.wrote, s.header.Clone())
}

func TestPassNeverWaitsForTheWriter(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := &slow{header: http.Header{"Date": {"kept for the final answer"}}, next: make(chan struct{})}
		var early interim.Answers
		early.Pass(w, http.StatusEarlyHints, http.Header{"Link": {"</a.css>; rel=preload"}})
		synctest.Wait() // it is being written: more would wait
		for range interim.MaxWaiting + 3 {
			early.Pass(w, http.StatusProcessing, nil)
		}
		if !early.Busy() {
			t.Error("not busy while the writer stands still")
		}
		close(w.next)
		early.End()
		if early.Busy() {
			t.Error("busy after the end")
		}
		early.Pass(w, http.StatusEarlyHints, nil) // too late
		synctest.Wait()

		if got, want := len(w.statuses), 1+interim.MaxWaiting; got != want {
			t.Errorf("%d were written, want %d: the rest is dropped", got, want)
		}
		if w.statuses[0] != http.StatusEarlyHints || w.statuses[1] != http.StatusProcessing {
			t.Errorf("written %v, want them in order", w.statuses)
		}
		want := http.Header{"Link": {"</a.css>; rel=preload"}, "Content-Length": nil}
		if diff := cmp.Diff(want, w.wrote[0]); diff != "" {
			t.Errorf("the first one's header (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(http.Header{"Date": {"kept for the final answer"}}, w.header); diff != "" {
			t.Errorf("the writer's own header (-want +got):\n%s", diff)
		}
	})
}

func TestFieldsThatDoNotGoOn(t *testing.T) {
	t.Parallel()
	w := &slow{header: http.Header{}, next: make(chan struct{})}
	close(w.next)
	agent := http.Header{
		"Link": {"</a>"}, "Connection": {"close, X-Hop", "x-other"}, "X-Hop": {"1"}, "X-Other": {"1"}, "Keep-Alive": {"9"},
		"Upgrade": {"h2c"}, "Transfer-Encoding": {"chunked"}, "Content-Length": {"4"}, "Alt-Svc": {"h3=\":1\""}, "Bindu-Tunnel-Id": {"t"},
	}
	before := agent.Clone()
	var early interim.Answers
	early.Pass(w, http.StatusEarlyHints, agent)
	early.End()
	if diff := cmp.Diff(http.Header{"Link": {"</a>"}, "Content-Length": nil}, w.wrote[0]); diff != "" {
		t.Errorf("header (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(before, agent); diff != "" {
		t.Errorf("the agent's header was changed (-want +got):\n%s", diff)
	}
}

// What waits is bounded in bytes, too: a field counts 32 bytes beside its text.
func TestPassBoundsBytes(t *testing.T) {
	t.Parallel()
	const field = 32 + len("Link")
	of := func(size int) http.Header { return http.Header{"Link": {strings.Repeat("x", size-field)}} }
	for _, row := range []struct {
		name  string
		input []int // sizes, after the one that is being written
		want  int   // written
	}{
		{"all there is room for", []int{interim.MaxBytes}, 1},
		{"one byte more", []int{interim.MaxBytes + 1}, 0},
		{"together", []int{interim.MaxBytes / 2, interim.MaxBytes / 2}, 2},
		{"together too much", []int{interim.MaxBytes / 2, interim.MaxBytes/2 + 1, 100}, 2},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := &slow{header: http.Header{}, next: make(chan struct{})}
				var early interim.Answers
				early.Pass(w, http.StatusEarlyHints, nil)
				synctest.Wait()
				for _, size := range row.input {
					early.Pass(w, http.StatusEarlyHints, of(size))
				}
				close(w.next)
				early.End()
				if got := len(w.statuses) - 1; got != row.want {
					t.Errorf("%d were written, want %d", got, row.want)
				}
			})
		})
	}
}
