// Package relaytest is what a hop must do, whatever carries its bytes. Each
// carrier's tests call Run. It decides nothing about the carrier itself; the
// agents are real HTTP/2 servers, as on a link, and what they do is hostile
// where a test says so.
package relaytest

import (
	"context"
	"net"
	"sync"
	"testing"

	"github.com/getbindu/bindu-edge/internal/relay"
	"github.com/getbindu/bindu-edge/internal/tunnel"
)

// Mesh is a carrier between any number of pods.
type Mesh interface {
	// Join makes the carrier's part in a new pod, ready to dial and to be dialled. It
	// ends with the test (t.Cleanup).
	Join(t testing.TB, pod tunnel.PodID) (relay.Dialer, net.Listener)
}

// Carrier is a part of a Mesh that runs by itself.
type Carrier interface {
	relay.Dialer
	Run(context.Context) // until its context ends
	Ping() error
	Listener() net.Listener
	Close() error
}

// Join runs a new carrier until the test ends, and waits until it can be used.
func Join(t testing.TB, c Carrier) (relay.Dialer, net.Listener) {
	t.Helper()
	ctx, leave := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { c.Run(ctx) })
	t.Cleanup(func() {
		leave()
		running.Wait()
		_ = c.Close()
	})
	// Dialling waits for what carries, and so says when this pod can be dialled.
	if conn, err := c.Dial(t.Context(), "nobody-00000000"); err == nil {
		_ = conn.Close()
		t.Fatal("somebody is where nobody is")
	}
	if err := c.Ping(); err != nil {
		t.Fatal(err)
	}
	return c, c.Listener()
}

// Run checks the relay over the carrier of which mesh makes an instance. All
// cases run in parallel.
func Run(t *testing.T, mesh func(testing.TB) Mesh) {
	t.Helper()
	for _, c := range []struct {
		name string
		run  func(*testing.T, Mesh)
	}{
		{"bodies arrive whole, both ways", bodies},
		{"an early answer does not wait for the upload", earlyAnswer},
		{"an event stream is not held back", events},
		{"200 streams at once", manyStreams},
		{"targets arrive byte for byte", targets},
		{"headers arrive as they are", headers},
		{"answers without a body", withoutBody},
		{"trailers of requests", requestTrailers},
		{"trailers of answers", answerTrailers},
		{"early hints", earlyHints},
		{"a refused expectation costs no upload", expectRefused},
		{"an accepted expectation", expectAccepted},
		{"an upgrade, and its ends", upgrades},
		{"a declined upgrade", upgradeDeclined},
		{"upgrades that break", upgradesBreak},
		{"a caller leaves", callerLeaves},
		{"an agent breaks off", agentBreaksOff},
		{"stalled callers stop nobody", stalledCallers},
		{"stalled uploads stop nobody", stalledUploads},
		{"errors keep what they say", errorsKept},
		{"every code passes", everyCode},
		{"a tunnel that is not there", misdirected},
		{"an agent can't speak for its pod", agentPosesAsPod},
		{"an agent can't end the connection", agentEndsNothing},
		{"the caller's address", callerAddress},
		{"what pods ask each other", claims},
		{"a pod that is not there", nobodyThere},
		{"a pod that dies", podDies},
		{"a pod that says goodbye", goodbye},
		{"three pods, all ways", threePods},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.run(t, mesh(t))
		})
	}
}
