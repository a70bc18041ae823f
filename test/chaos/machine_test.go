package chaos

import (
	"context"
	"net/http"
	"slices"
	"sync"
	"time"
)

// machine knows when this machine had too much else to do for a bound in seconds
// to mean anything. What requests may never do, whatever the time, is held
// against them even then.
type machine struct {
	mu    sync.Mutex
	stood []excuse
	slow  []delay // newest last
}

// delay is how long the machine took for next to nothing.
type delay struct {
	at   time.Time // its end
	took time.Duration
}

// A question that needs a few instructions and no pod was answered this late.
const late = time.Second

// watchMachine asks the control plane, which lives in this process and has
// nothing to do, again and again.
func (r *run) watchMachine(url string) {
	ctx, cancel := context.WithCancel(context.Background())
	var watching sync.WaitGroup
	r.t.Cleanup(func() { cancel(); watching.Wait() })
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	watching.Go(func() {
		for ctx.Err() == nil {
			began := time.Now()
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/health", nil)
			if err != nil {
				return
			}
			if res, err := client.Do(req); err == nil {
				_ = res.Body.Close()
			}
			took := time.Since(began)
			r.machine.note(took)
			if took > late {
				r.machine.stand(began, took)
			}
			pause(ctx, 100*time.Millisecond)
		}
	})
}

// What a busy machine may take on top of every bound: a multiple of what it took
// for next to nothing at the time.
const (
	leastSlack = 500 * time.Millisecond
	mostSlack  = 3 * time.Second
	slackTimes = 10
)

// slack is how much that was from one moment to another.
func (m *machine) slack(from, to time.Time) time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	worst := time.Duration(0)
	for _, d := range m.slow {
		if d.at.After(from) && d.at.Add(-d.took).Before(to) {
			worst = max(worst, d.took)
		}
	}
	return min(leastSlack+slackTimes*worst, mostSlack)
}

// note remembers what a question took, for as long as anybody may ask.
func (m *machine) note(took time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	m.slow = append(m.slow, delay{now, took})
	if keep := 4 * callerWaits; now.Sub(m.slow[0].at) > 2*keep { // now and then
		m.slow = slices.DeleteFunc(m.slow, func(d delay) bool { return now.Sub(d.at) > keep })
	}
}

// stand notes that nothing went on for a time. Agents that lost their links by
// it take a while to return.
func (m *machine) stand(began time.Time, took time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := func(*asked) bool { return true }
	from, to := began.Add(-lease), began.Add(took+2*lease)
	m.stood = append(m.stood,
		excuse{"the machine had too much else to do", from, to, refusing, all},
		excuse{"the machine had too much else to do", from, to, losing, all},
	)
}

func (m *machine) excuses() []excuse {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.stood[:len(m.stood):len(m.stood)]
}
