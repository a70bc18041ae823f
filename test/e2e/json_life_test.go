package e2e

import (
	"testing"
	"time"

	"github.com/coder/websocket"
)

// every calls do at each interval until stop is called.
func every(interval time.Duration, do func()) (stop func()) {
	end, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(interval)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				do()
			case <-end:
				return
			}
		}
	}()
	return func() {
		close(end)
		<-ended
	}
}

// The heartbeat knows a stuck program from one that lives.
func TestJSONHeartbeat(t *testing.T) {
	t.Parallel()
	p := startPlane(t)
	e := startEdge(t, p, "WS_PING_INTERVAL_SECONDS=1.5", "WS_PONG_TIMEOUT_SECONDS=3", "RECONNECT_GRACE_SECONDS=0")
	const patience = 4500 * time.Millisecond // both together

	// One answers pings, and one only talks.
	answers, talks := tunnelOf(t, p, e), tunnelOf(t, p, e)
	talks.mute.Store(true)
	defer every(200*time.Millisecond, func() {
		_ = talks.ws.Write(t.Context(), websocket.MessageText, []byte(`{"type":"ping","ts":1}`))
	})()

	// This one's library lives, and answers what belongs to WebSocket itself.
	stuck := tunnelOf(t, p, e)
	stuck.mute.Store(true)
	stop := every(100*time.Millisecond, func() { _ = stuck.ws.Ping(t.Context()) })
	_, done := stuck.ask("GET", "/held")
	began := time.Now()
	stuck.wantClosed(1008, "heartbeat_lost")
	wantWithin(t, "noticing silence", began, patience)
	stop()
	stuck.wantLost(done)
	if n := len(stuck.pings); n < 1 || n > 3 { // two fall into its patience, and one might come at its end
		t.Errorf("the edge asked %d times before", n)
	}
	wantError(t, get(t, stuck.url("/")), 503, "tunnel_offline")
	e.waitLine(`"tunnel_id":"`+string(stuck.cred.id)+`","reason":"heartbeat_lost"`, 1)

	// Its registration is free: whoever comes now is asked nothing.
	stuck.again(nil).wantAlive()

	for range 3 { // of the edge's pings: longer than its patience
		receive(t, "a ping", answers.pings)
	}
	for range 3 {
		receive(t, "a ping to the one that talks", talks.pings)
	}
	answers.wantAlive()
	talks.wantAlive()
}

// A first byte that does not come in time, and then comes all the same.
func TestJSONFirstByte(t *testing.T) {
	t.Parallel()
	_, j := startJSON(t, "REQUEST_TIMEOUT_SECONDS=2")
	began := time.Now()
	r, done := j.ask("GET", "/slow")
	wantError(t, j.result(done), 504, "first_byte_timeout")
	if took := time.Since(began); took < 2*time.Second {
		t.Errorf("the caller was given up after %s", took)
	}
	wantWithin(t, "giving up", began, 2*time.Second)
	j.reply(r, `"status":200,"body":"late"`)
	j.wantAlive()
}

// An agent that leaves, in order or not, takes nobody's time.
func TestJSONAgentLeaves(t *testing.T) {
	t.Parallel()
	p := startPlane(t)
	e := startEdge(t, p, "RECONNECT_GRACE_SECONDS=0")
	tests := []struct {
		name  string
		leave func(*rawAgent)
		want  string // in the log
	}{
		{"breaks off", func(a *rawAgent) { _ = a.ws.CloseNow() }, "lost"},
		{"says goodbye", func(a *rawAgent) { _ = a.ws.Close(websocket.StatusNormalClosure, "") }, "agent_left"},
		{"goes away", func(a *rawAgent) { _ = a.ws.Close(websocket.StatusGoingAway, "bye") }, "agent_left"},
		{"fails", func(a *rawAgent) { _ = a.ws.Close(websocket.StatusInternalError, "") }, "lost"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			j := tunnelOf(t, p, e)
			_, one := j.ask("GET", "/held")
			_, two := j.ask("GET", "/held")
			tt.leave(j.rawAgent)
			j.wantLost(one)
			j.wantLost(two)
			e.waitLine(`"tunnel_id":"`+string(j.cred.id)+`","reason":"`+tt.want+`"`, 1)
			wantError(t, get(t, j.url("/")), 503, "tunnel_offline")
			j.again(nil).wantAlive()
		})
	}
}

// A request that came while the agent was away for a moment waits for it.
func TestJSONGrace(t *testing.T) {
	t.Parallel()
	_, j := startJSON(t)
	j.wantAlive() // an agent that is gone before its link stands is not waited for
	receive(t, "the agent leaves", j.closeNow())
	j.edge.waitLine(`"link ended"`, 1)
	done := ask(request(t.Context(), t, "GET", j.url("/waits"), nil))
	again := j.again(nil)
	again.reply(again.next(), `"status":200,"body":"back"`)
	wantAnswer(t, receive(t, "the answer", done), "back")
}
