package bustest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/getbindu/bindu-edge/internal/relay/bus"
	"github.com/getbindu/bindu-edge/internal/tunnel"
)

// Harness is what Run needs to know of a message bus.
type Harness struct {
	// Broker reaches a bus that is up for as long as the test lasts.
	Broker func(t testing.TB) bus.Broker
	// Restart reaches a bus of the test's own, with what takes it down at once and
	// what brings it back, empty.
	Restart func(t testing.TB) (b bus.Broker, stop, start func())
	// Prefix begins the subjects.
	Prefix string
}

// patience is for what must happen, however slow the machine is.
const patience = 60 * time.Second

var pods atomic.Int64

// Pod is one pod on a bus.
type Pod struct {
	ID tunnel.PodID
	*bus.Carrier
}

// NewPod makes a pod that runs until the test ends. Its name holds what means
// something on a bus.
func NewPod(t testing.TB, b bus.Broker, prefix string) Pod {
	t.Helper()
	id := tunnel.PodID(fmt.Sprintf("edge.%d.*.>.example-0000000a", pods.Add(1)))
	c, err := bus.New(bus.Options{Broker: b, Pod: id, Prefix: prefix, Network: "bus"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { c.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		running.Wait()
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	p := Pod{id, c}
	p.await(t)
	return p
}

// await waits until the pod is on the bus.
func (p Pod) await(t testing.TB) {
	t.Helper()
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	for end := time.Now().Add(patience); p.Ping() != nil; <-again.C {
		if time.Now().After(end) {
			t.Fatalf("not on the bus: %v", p.Ping())
		}
	}
}

// Pair opens a connection from one pod to the other.
func Pair(t testing.TB, from, to Pod) (dialed, accepted net.Conn) {
	t.Helper()
	dialed, accepted, err := pair(from, to)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = dialed.Close(), accepted.Close() })
	return dialed, accepted
}

func pair(from, to Pod) (dialed, accepted net.Conn, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	type result struct {
		conn net.Conn
		err  error
	}
	results := make(chan result, 1)
	go func() {
		c, err := from.Dial(ctx, to.ID)
		results <- result{c, err}
	}()
	accepts := make(chan result, 1)
	go func() {
		c, err := to.Listener().Accept()
		accepts <- result{c, err}
	}()
	r := <-results
	if r.err != nil {
		return nil, nil, r.err // the Accept ends with the pod
	}
	select {
	case a := <-accepts:
		return r.conn, a.conn, a.err
	case <-ctx.Done():
		return nil, nil, errors.New("dialled and never accepted")
	}
}

func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return b
}
