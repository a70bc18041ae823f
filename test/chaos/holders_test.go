package chaos

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/getbindu/bindu-edge/internal/podstatus"
)

// held is a link of an agent as the pod tells that has it.
type held struct {
	tunnel, pod int
	since       time.Time
	requests    uint64 // that it has taken
	inFlight    int
}

// links asks a pod for its links.
func (r *run) links(ctx context.Context, p *pod) ([]held, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Second) // one that stands still says nothing
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.admin+"/status", nil)
	if err != nil {
		return nil, err
	}
	res, err := r.asker.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = res.Body.Close() }()
	var said podstatus.Status
	if err := json.NewDecoder(res.Body).Decode(&said); err != nil {
		return nil, fmt.Errorf("status of pod %d: %w", p.index, err)
	}
	var all []held
	for _, l := range said.Tunnels.List {
		if i, known := r.byID[l.ID]; known {
			all = append(all, held{i, p.index, l.Since, l.Requests, l.InFlight})
		}
	}
	return all, nil
}

// everyLink asks all pods at once. silent are those that did not answer.
func (r *run) everyLink(ctx context.Context) (all []held, silent []int) {
	var mu sync.Mutex
	var asking sync.WaitGroup
	for _, p := range r.pods {
		asking.Go(func() {
			some, err := r.links(ctx, p)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				silent = append(silent, p.index)
			}
			all = append(all, some...)
		})
	}
	asking.Wait()
	return all, silent
}

// agree holds the pods to Redis while nothing is asked of them: each tunnel is held
// by the pod that Redis names, and by no other one.
func (r *run) agree() {
	r.t.Helper()
	wrong := ""
	if !within(r.t.Context(), lease+2*time.Second+mostSlack, func() bool { wrong = r.disagreement(); return wrong == "" }) {
		r.ledger.violation("pods and Redis don't agree while nothing happens: %s", wrong)
		r.t.Fail()
	}
}

func (r *run) disagreement() string {
	holders, err := r.holders()
	if err != nil {
		return err.Error()
	}
	all, silent := r.everyLink(r.t.Context())
	if len(silent) > 0 {
		return fmt.Sprintf("pods %v say nothing", silent)
	}
	at := make([][]int, len(r.agents))
	for _, l := range all {
		at[l.tunnel] = append(at[l.tunnel], l.pod)
	}
	for i, pods := range at {
		if !slices.Equal(pods, []int{holders[i]}) {
			return fmt.Sprintf("tunnel %d has links at the pods %v, and Redis names pod %d", i, pods, holders[i])
		}
	}
	return ""
}

// watchLinks looks again and again whether a link goes on beside a newer one of its
// tunnel. It may finish what it has begun, and its pod may take a while to hear.
func (r *run) watchLinks(ctx context.Context) {
	var o overlaps
	for ctx.Err() == nil {
		all, silent := r.everyLink(ctx)
		now := time.Now()
		bound := lease + 2*time.Second + r.slack(now.Add(-2*lease), now)
		for _, wrong := range o.look(now, all, silent, bound) {
			r.ledger.violation("%s", wrong)
		}
		pause(ctx, 250*time.Millisecond)
	}
}

// overlaps are the links that a newer one has come beside.
type overlaps map[overlap]*outrun

type overlap struct {
	tunnel, pod int
	since       time.Time
}

// outrun is what is known of such a link.
type outrun struct {
	first    time.Time // seen beside a newer one
	idle     time.Time // since when nothing was seen on it; zero = something is
	requests uint64
}

// look takes in what pods have said, and returns what may not be.
func (o *overlaps) look(now time.Time, all []held, silent []int, bound time.Duration) (wrong []string) {
	newest := map[int]held{}
	for _, l := range all {
		if n, ok := newest[l.tunnel]; !ok || l.since.After(n.since) {
			newest[l.tunnel] = l
		}
	}
	next := overlaps{}
	for key, known := range *o {
		if slices.Contains(silent, key.pod) {
			next[key] = known
		}
	}
	for _, l := range all {
		n := newest[l.tunnel]
		if l == n {
			continue
		}
		key := overlap{l.tunnel, l.pod, l.since}
		known := (*o)[key]
		if known == nil {
			known = &outrun{first: now, requests: l.requests}
		}
		next[key] = known
		if l.requests > known.requests && now.Sub(known.first) > bound {
			wrong = append(wrong, fmt.Sprintf("tunnel %d: pod %d gave requests to its link %s after pod %d had a newer one", l.tunnel, l.pod, now.Sub(known.first), n.pod))
		}
		switch {
		case l.inFlight > 0 || l.requests > known.requests:
			known.idle = time.Time{}
		case known.idle.IsZero():
			known.idle = now
		case now.Sub(known.idle) > bound:
			wrong = append(wrong, fmt.Sprintf("tunnel %d: pod %d keeps an idle link for %s beside the newer one of pod %d", l.tunnel, l.pod, now.Sub(known.idle), n.pod))
			known.idle = time.Time{} // say it once
		}
		known.requests = l.requests
	}
	*o = next
	return wrong
}

// The watcher sees what it is there for, and nothing else.
func TestOverlaps(t *testing.T) {
	t.Parallel()
	began := time.Now()
	const bound = 10 * time.Second
	older := held{tunnel: 1, pod: 0, since: began}
	newer := held{tunnel: 1, pod: 1, since: began.Add(time.Minute)}
	for _, row := range []struct {
		name string
		each func(second int) (all []held, silent []int)
		want int
	}{
		{"one link", func(s int) ([]held, []int) {
			l := older
			l.requests = uint64(s)
			return []held{l}, nil
		}, 0},
		{"links of two tunnels", func(s int) ([]held, []int) {
			l := older
			l.tunnel, l.requests = 2, uint64(s)
			return []held{l, newer}, nil
		}, 0},
		{"the old one goes soon", func(s int) ([]held, []int) {
			if s > 9 {
				return []held{newer}, nil
			}
			return []held{older, newer}, nil
		}, 0},
		{"the old one finishes a long answer", func(int) ([]held, []int) {
			l := older
			l.inFlight = 1
			return []held{l, newer}, nil
		}, 0},
		{"the old one takes requests for a while", func(s int) ([]held, []int) {
			l := older
			l.requests, l.inFlight = uint64(min(s, 10)), 1
			return []held{l, newer}, nil
		}, 0},
		{"the old one stays", func(int) ([]held, []int) { return []held{older, newer}, nil }, 2},
		{"the old one takes a request late", func(s int) ([]held, []int) {
			l := older
			l.requests, l.inFlight = uint64(s/15), 1
			return []held{newer, l}, nil
		}, 1},
		{"its pod is silent meanwhile", func(s int) ([]held, []int) {
			l := older
			l.inFlight = 1
			if s > 0 && s < 29 {
				return []held{newer}, []int{0}
			}
			l.requests = uint64(s)
			return []held{newer, l}, nil
		}, 1},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			var o overlaps
			var wrong []string
			for s := range 30 {
				all, silent := row.each(s)
				wrong = append(wrong, o.look(began.Add(time.Duration(s)*time.Second), all, silent, bound)...)
			}
			if len(wrong) != row.want {
				t.Errorf("got %q, want %d", wrong, row.want)
			}
		})
	}
}
