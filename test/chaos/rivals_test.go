package chaos

import (
	"time"

	"github.com/getbindu/bindu-edge/agent"
)

// rivalCount is how many tunnels have a second agent for a while.
const rivalCount = 10

// rivals gives some tunnels a second agent with the same credentials, as somebody
// does who starts it on two machines. As long as the first one is there, the second
// is refused wherever it asks, which costs no request; when the first one leaves,
// the second takes its place.
func (r *run) rivals() {
	first := make([]*agentAt, 0, rivalCount)
	second := make([]*agentAt, 0, rivalCount)
	among := map[int]bool{}
	for _, i := range r.random.Perm(len(r.agents))[:rivalCount] {
		a := r.agents[i]
		first, among[i] = append(first, a), true
		second = append(second, &agentAt{
			index: i, id: a.id, slug: a.slug, token: a.token, protocol: a.protocol, ledger: a.ledger,
			edge: a.edge, logger: a.logger.With("rival", true),
		})
	}
	began := time.Now()
	r.each(second, (*agentAt).start)
	defer r.each(second, (*agentAt).leave)
	within(r.t.Context(), 2*time.Second, func() bool {
		for i, a := range second {
			if a.current.Linked() && first[i].current.Linked() && r.machine.Worst(began, time.Now()) < late {
				r.ledger.violation("tunnel %d: a second agent got in beside the first", a.index)
				return true
			}
		}
		return false
	})
	leaving := time.Now()
	r.each(first, (*agentAt).leave)
	// It has been refused a few times, and asks more rarely by now.
	eventually(r.t, "the second agents are linked", func() bool { return linked(second) })
	r.note("the rivals have %d tunnels", rivalCount)
	r.each(second, (*agentAt).leave)
	r.each(first, (*agentAt).start)
	eventually(r.t, "the first agents are linked again", func() bool { return linked(first) })
	r.excuse(
		excuse{"an agent left to its rival", leaving, time.Now(), refusing, func(a *asked) bool { return among[a.tunnel] }},
		excuse{"a JSON agent left to its rival", leaving, time.Now(), losing, func(a *asked) bool {
			return among[a.tunnel] && r.agents[a.tunnel].protocol == agent.JSON
		}},
	)
}
