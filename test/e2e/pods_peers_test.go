package e2e

import (
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
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

// A flood of strangers who say nothing keeps neither memory nor pods out for
// longer than their patience.
func TestPodsFlood(t *testing.T) {
	t.Parallel()
	c := startCluster(t, "direct", 2, "POD_LEASE_SECONDS=30")
	owner, door := c.pods[0], c.pods[1]
	cred := c.plane.create(t, "")
	startAgent(t, owner, cred, startOrigin(t, http.HandlerFunc(echo)))
	closed := make(chan struct{}, 200)
	for range cap(closed) {
		conn, err := net.Dial("tcp", owner.setting("PEER_ADDR"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		go func() {
			_, _ = io.Copy(io.Discard, conn)
			closed <- struct{}{}
		}()
	}
	for i := range cap(closed) - 64 {
		select {
		case <-closed:
		case <-time.After(4 * time.Second): // less than those that wait have
			t.Fatalf("%d of %d were turned away at once", i, cap(closed))
		}
	}
	began := time.Now()
	eventually(t, "a pod is let in", func() bool { return status(t, door.path(cred, "/")) == 200 })
	wantWithin(t, "letting a pod in", began, 5*time.Second+300*time.Millisecond)
}
