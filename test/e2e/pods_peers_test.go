package e2e

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// A pod without a secret takes no part in the relay, and says so once.
func TestPodsWithoutSecret(t *testing.T) {
	t.Parallel()
	w := startRelayed(t, "direct", http.HandlerFunc(echo), "PEER_SECRET=")
	for range 3 {
		wantRelayAway(t, w.edge, w.cred)
	}
	if a := get(t, w.owner.path(w.cred, "/")); a.StatusCode != 200 {
		t.Errorf("at the pod that holds the tunnel: %d %s", a.StatusCode, a.body)
	}
	if n := w.edge.logged("WARN", "PEER_SECRET"); n != 1 {
		t.Errorf("%d warnings, want one", n)
	}
	if n := w.edge.logged("ERROR", ""); n != 0 {
		t.Errorf("%d errors", n)
	}
}

// Pods with different secrets don't know each other, and both say so, once.
func TestPodsWrongSecret(t *testing.T) {
	t.Parallel()
	for _, carrier := range carriers {
		t.Run(carrier, func(t *testing.T) {
			t.Parallel()
			w := startRelayed(t, carrier, http.HandlerFunc(echo))
			stranger := w.cluster.join(t, "PEER_SECRET=what pods of some other installation know")
			began := time.Now()
			for range 3 {
				wantRelayAway(t, stranger, w.cred)
			}
			wantWithin(t, "three refusals", began, 2*time.Second)
			stranger.waitLine("PEER_SECRET", 1)
			if n := stranger.logged("WARN", "PEER_SECRET"); n != 1 {
				t.Errorf("the stranger has warned %d times, want once", n)
			}
			w.owner.waitLine("could not prove", 1)
			if n := w.owner.logged("WARN", "could not prove"); n != 1 {
				t.Errorf("the owner has warned %d times, want once", n)
			}
			if a := get(t, w.url("/")); a.StatusCode != 200 {
				t.Errorf("between those that know each other: %d %s", a.StatusCode, a.body)
			}
		})
	}
}

// Whoever reaches the listener of the pods gets nothing from it, and does it no
// harm.
func TestPodsStrangers(t *testing.T) {
	t.Parallel()
	w := startRelayed(t, "direct", http.HandlerFunc(echo))
	addr := w.owner.setting("PEER_ADDR")
	for _, tt := range []struct{ name, input string }{
		{"HTTP", "GET /local_tunnel/" + string(w.cred.slug) + "/ HTTP/1.1\r\nHost: x\r\n\r\n"},
		{"HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"},
		{"noise", string(noise(100_000))},
		{"half a TLS record", "\x16\x03\x01\x02\x00\x01"},
		{"nothing", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			began := time.Now()
			conn, err := net.Dial("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = conn.Close() }()
			_ = conn.SetDeadline(time.Now().Add(patience))
			go func() { _, _ = io.WriteString(conn, tt.input) }()
			got, err := io.ReadAll(conn)
			if n := net.Error(nil); errors.As(err, &n) && n.Timeout() {
				t.Error("the connection was left open")
			}
			if len(got) > 100 || strings.Contains(string(got), "HTTP") {
				t.Errorf("a stranger was told %q", got)
			}
			wantWithin(t, "turning a stranger away", began, 5*time.Second)
			if a := get(t, w.url("/")); a.StatusCode != 200 {
				t.Errorf("a request between pods: %d %s", a.StatusCode, a.body)
			}
		})
	}
}

// A flood of strangers who say nothing, each followed by another one, keeps no pod
// out, is bounded, and is told of.
func TestPodsSteadyFlood(t *testing.T) {
	t.Parallel()
	c := startCluster(t, "direct", 2, "POD_LEASE_SECONDS=30")
	owner, door := c.pods[0], c.pods[1]
	cred := c.plane.create(t, "")
	startAgent(t, owner, cred, startOrigin(t, http.HandlerFunc(echo)))
	addr := owner.setting("PEER_ADDR")
	ctx, cancel := context.WithCancel(t.Context())
	var flood sync.WaitGroup
	defer flood.Wait()
	defer cancel()
	closed := make(chan struct{}, 1000)
	for range 90 {
		flood.Go(func() {
			for ctx.Err() == nil {
				conn, err := net.Dial("tcp", addr)
				if err != nil {
					return
				}
				stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
				_, _ = io.Copy(io.Discard, conn)
				stop()
				_ = conn.Close()
				select {
				case closed <- struct{}{}:
				default:
				}
				again := time.NewTimer(20 * time.Millisecond) // 1,300 a second are enough for a test
				select {
				case <-again.C:
				case <-ctx.Done():
				}
				again.Stop()
			}
		})
	}
	for range 2 * 90 {
		receive(t, "a stranger is turned away", closed)
	}
	for range 3 {
		for _, at := range []*edge{door, c.join(t)} { // one that has been there, and a new one
			if a := get(t, at.path(cred, "/")); a.StatusCode != 200 {
				t.Errorf("a request between pods: %d %s", a.StatusCode, a.body)
			}
		}
	}
	owner.waitLine("more newcomers than may wait", 1)
	if n := owner.logged("WARN", "more newcomers than may wait"); n != 1 {
		t.Errorf("%d warnings, want one", n)
	}
}
