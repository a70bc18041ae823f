package chaos

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
)

// excuse is why requests of some time may fail, and how. What the machine took
// for itself at the time comes on top.
type excuse struct {
	why      string
	from, to time.Time
	how      manner
	applies  func(*asked) bool
}

// manner is how a request fails.
type manner string

const (
	refusing manner = "refused" // 503: the agent never saw it
	losing   manner = "lost"    // 502, or the connection broke: it may have
)

func (r *run) excuse(e ...excuse) { r.excuses = append(r.excuses, e...) }

// lastExcuse is when the last one has ended.
func (r *run) lastExcuse() (last time.Time) {
	for _, e := range r.excuses {
		if e.to.After(last) {
			last = e.to
		}
	}
	return last
}

// covers says whether e excuses a failure. A request was made before the end of
// the excuse and under way after its beginning.
func (e excuse) covers(a *asked) bool {
	return e.how == a.manner() && a.begun.Before(e.to) && a.end.After(e.from) && e.applies(a)
}

// manner is how the request failed; "" for anything that nothing can excuse.
func (a *asked) manner() manner {
	switch {
	case errors.Is(a.err, errMixedUp):
		return ""
	case a.status == 503 && slices.Contains([]string{"relay_unavailable", "tunnel_offline", "registry_unavailable"}, a.code):
		return refusing
	case a.status == 502 && a.code == "link_lost", a.status == 0:
		return losing
	case a.status == 503 && a.code == "": // says the agent, as it shuts down
		return losing
	case a.status == 400 && a.code == "": // says net/http of a header that took 10 s to read
		return losing
	}
	return ""
}

func (a *asked) String() string {
	took := "under way"
	if !a.end.IsZero() {
		took = "took " + a.end.Sub(a.begun).Round(time.Millisecond).String()
	}
	return fmt.Sprintf("%s at pod %d for tunnel %d, begun %s, %s: %d %s %v; seen by %v",
		a.id, a.door, a.tunnel, a.begun.Format("15:04:05.000"), took, a.status, a.code, a.err, a.by)
}

// check holds every request that has ended to the contract, and forgets it.
func (r *run) check() {
	r.t.Helper()
	l := r.ledger
	l.mu.Lock()
	defer l.mu.Unlock()
	excuses := slices.Clone(r.excuses)
	for i, e := range excuses {
		excuses[i].to = e.to.Add(r.slack(e.from, e.to.Add(mostSlack)))
	}
	excuses = append(excuses, r.stood()...)
	var under []*asked
	failed, served := map[string]*counted{}, 0
	for _, a := range l.requests {
		if a.end.IsZero() {
			under = append(under, a)
			continue
		}
		delete(l.byID, a.id)
		wrong := a.wrong()
		if wrong == "" && !a.ok() {
			i := slices.IndexFunc(excuses, func(e excuse) bool { return e.covers(a) })
			if i < 0 {
				wrong = "nothing excuses its failure"
			} else {
				e := excuses[i]
				failed[e.why+": "+string(a.manner())] = failed[e.why+": "+string(a.manner())].and(a, e)
			}
		}
		switch {
		case wrong != "" && len(l.violations) < 100:
			l.violations = append(l.violations, wrong+": "+a.String())
		case a.ok():
			served++
		}
	}
	l.requests = under
	r.excuses = slices.DeleteFunc(r.excuses, func(e excuse) bool { return time.Since(e.to) > 2*callerWaits+mostSlack })
	for _, id := range l.strangers {
		// It may have been judged and forgotten already: then it comes twice, or late.
		l.violations = append(l.violations, "an agent saw a request that nobody made, or saw it late: "+id)
	}
	l.strangers = nil
	r.note("%d requests were served, %d are under way, excused were %v", served, len(under), failed)
	if len(l.violations) > 0 {
		r.t.Fail()
	}
}

// counted is how many failures an excuse covered, and how late the last of their
// requests was made.
type counted struct {
	n    int
	last time.Duration
}

func (c *counted) and(a *asked, e excuse) *counted {
	if c == nil {
		c = &counted{last: a.begun.Sub(e.from)}
	}
	c.n++
	c.last = max(c.last, a.begun.Sub(e.from))
	return c
}

func (c *counted) String() string {
	return fmt.Sprintf("%d (the last made %s after the beginning)", c.n, c.last.Round(time.Millisecond))
}

// wrong says what no excuse can help.
func (a *asked) wrong() string {
	switch {
	case len(a.by) > 1:
		return "delivered more than once"
	case len(a.by) == 1 && a.by[0] != a.tunnel:
		return "delivered to the wrong agent"
	case a.status == 503 && len(a.by) > 0:
		return "503 for a request that was delivered"
	case a.status == 200 && len(a.by) != 1:
		return "answered without an agent"
	}
	return ""
}

// finish ends everything in order and looks for what is left.
func (r *run) finish() {
	r.t.Helper()
	r.load.pause()
	r.agree()
	r.look()
	r.looking.Wait()
	r.check()
	r.rate()
	r.each(r.agents, (*agentAt).leave)
	if r.t.Failed() {
		return // the rest would only say so again
	}
	for _, p := range r.pods {
		n := 0
		if !within(r.t.Context(), 20*time.Second, func() bool { n = p.goroutines(); return n <= r.idle[p.index]+mayStay }) {
			r.t.Errorf("pod %d has %d goroutines without agents and requests; it began with %d", p.index, n, r.idle[p.index])
		}
		r.note("pod %d has %d goroutines, and had %d", p.index, n, r.idle[p.index])
	}
	for _, p := range r.pods {
		p.terminate()
	}
	// A slug is remembered for a while by design; nobody's claim may be.
	eventually(r.t, "no key is left", func() bool {
		return !slices.ContainsFunc(r.redis.List("KEYS", "*"), func(key string) bool { return !strings.HasPrefix(key, "slug:") })
	})
	if channels := r.redis.List("PUBSUB", "CHANNELS"); len(channels) > 0 {
		r.t.Errorf("channels are left in Redis: %v", channels)
	}
	if r.nats != nil {
		if n := r.nats.subscriptions(); n > r.subscribed {
			r.t.Errorf("%d subscriptions are left at NATS, there were %d", n, r.subscribed)
		}
	}
}

// rate says what the load was, and fails when it was not what was asked for.
func (r *run) rate() {
	r.t.Helper()
	skipped := float64(r.ledger.skipped)
	made := float64(r.load.number)
	r.t.Logf("RELAY=%s: %.0f requests were made, %.0f a second while any were to be", r.carrier, made, made/r.load.spent.Seconds())
	if skipped > made/100 {
		r.t.Errorf("%.0f requests were not made since %d were under way: either the machine was too busy later on, or requests hang, of which there is a word above then", skipped, mostUnderWay)
	}
}

// mayStay is for connections to other pods, which are kept while both live.
const mayStay = 40

// report says what a person needs to find out why, and removes the logs of a run
// that went well.
func (r *run) report() {
	if !r.t.Failed() {
		_ = os.RemoveAll(r.dir)
		return
	}
	r.ledger.mu.Lock()
	defer r.ledger.mu.Unlock()
	r.t.Logf("seed %d, RELAY=%s; logs are in %s, where pods name requests by request_id\ntimeline:\n%s", r.seed, r.carrier, r.dir, strings.Join(r.timeline, "\n"))
	shown := r.ledger.violations[:min(len(r.ledger.violations), 30)]
	r.t.Logf("%d violations, %d requests not made since too many were under way:\n%s", len(r.ledger.violations), r.ledger.skipped, strings.Join(shown, "\n"))
}
