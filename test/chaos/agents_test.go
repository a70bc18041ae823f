package chaos

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/getbindu/bindu-edge/agent"
)

// Agents notice a silent edge soon: the faults are short.
const (
	agentPing     = time.Second
	agentPatience = 3 * time.Second
)

// agentAt is one of the tunnels, with an agent at its end.
type agentAt struct {
	index    int
	id, slug string
	token    string
	protocol agent.Protocol
	edge     string
	ledger   *ledger
	logger   *slog.Logger

	current *agent.Agent
	stop    context.CancelFunc
	ended   sync.WaitGroup
}

// start links the agent; it stays linked until leave.
func (a *agentAt) start() {
	made, err := agent.New(agent.Options{
		Edge: a.edge, TunnelID: a.id, Token: a.token, Protocol: a.protocol, Handler: a,
		PingInterval: agentPing, PingTimeout: agentPatience, Logger: a.logger,
	})
	if err != nil {
		a.ledger.violation("agent %d: %v", a.index, err)
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	a.current, a.stop = made, cancel
	a.ended.Go(func() {
		if err := made.Run(ctx); err != nil {
			a.ledger.violation("agent %d was refused for good: %v", a.index, err)
		}
	})
}

// leave ends what start began, if it did.
func (a *agentAt) leave() {
	if a.stop == nil {
		return
	}
	a.stop()
	a.ended.Wait()
	a.stop = nil
}

// each does something to all agents at once.
func (r *run) each(agents []*agentAt, do func(*agentAt)) {
	var doing sync.WaitGroup
	for _, a := range agents {
		doing.Go(func() { do(a) })
	}
	doing.Wait()
}

func linked(agents []*agentAt) bool {
	return !slices.ContainsFunc(agents, func(a *agentAt) bool { return !a.current.Linked() })
}

// What the callers and the agents say to each other.
const (
	headerRequest = "X-Request-Id" // which the pods log, too
	headerHold    = "X-Hold"       // how long the agent takes, in milliseconds
	headerSize    = "X-Size"       // of the answer's body
	headerAgent   = "X-Agent"
)

// ServeHTTP records who asks, and answers with a body that only this request has.
func (a *agentAt) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id := r.Header.Get(headerRequest)
	a.ledger.seen(id, a.index)
	sent, err := io.ReadAll(r.Body)
	if err != nil {
		return // its caller is gone, or its link
	}
	hold, _ := strconv.Atoi(r.Header.Get(headerHold))
	size, _ := strconv.Atoi(r.Header.Get(headerSize))
	pause(r.Context(), time.Duration(hold)*time.Millisecond)
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set(headerAgent, strconv.Itoa(a.index))
	w.Header().Set("X-Sum", sumOf(sent))
	_, _ = w.Write(content(id, size))
}
