package chaos

import (
	"context"
	"net/http"
	"sync"
	"time"
)

// machine knows when this machine had too much else to do for a bound in seconds
// to mean anything. What requests may never do, whatever the time, is held
// against them even then.
type machine struct {
	mu    sync.Mutex
	stood []excuse
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
			if took := time.Since(began); took > late {
				r.machine.stand(began, took)
			}
			pause(ctx, 100*time.Millisecond)
		}
	})
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
