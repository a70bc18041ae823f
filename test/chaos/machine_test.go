package chaos

import (
	"context"
	"sync"
	"time"

	"github.com/getbindu/bindu-edge/test/machine"
)

// A question that needs a few instructions and no pod was answered this late: the
// machine had too much else to do for a bound in seconds to mean anything. What
// requests may never do, whatever the time, is held against them even then.
const late = time.Second

// What a busy machine may take on top of every bound: a multiple of what it took
// for next to nothing at the time.
const (
	leastSlack = 500 * time.Millisecond
	mostSlack  = 3 * time.Second
	slackTimes = 10
)

// watchMachine looks how slow the machine is until the test ends.
func (r *run) watchMachine() {
	ctx, cancel := context.WithCancel(context.Background())
	var watching sync.WaitGroup
	r.t.Cleanup(func() { cancel(); watching.Wait() })
	watching.Go(func() { r.machine.Run(ctx) })
}

// slack is how much a busy machine may take from one moment to another.
func (r *run) slack(from, to time.Time) time.Duration {
	return min(leastSlack+slackTimes*r.machine.Worst(from, to), mostSlack)
}

// stood says when nothing went on for a time. Agents that lost their links by it
// take a while to return.
func (r *run) stood() (excuses []excuse) {
	all := func(*asked) bool { return true }
	now := time.Now()
	for _, d := range r.machine.Delays(now.Add(-machine.Kept), now) {
		if d.Took > late {
			from, to := d.From.Add(-lease), d.From.Add(d.Took+2*lease)
			excuses = append(excuses,
				excuse{"the machine had too much else to do", from, to, refusing, all},
				excuse{"the machine had too much else to do", from, to, losing, all},
			)
		}
	}
	return excuses
}
