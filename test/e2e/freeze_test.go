package e2e

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// A program that hangs keeps its sockets open: only the heartbeat tells.
func TestFrozenAgent(t *testing.T) {
	t.Parallel()
	origin := newHeld()
	w := startWorld(t, origin, "WS_PING_INTERVAL_SECONDS=0.5", "LINK_PING_TIMEOUT_SECONDS=3", "RECONNECT_GRACE_SECONDS=0")
	inFlight := ask(request(t.Context(), t, "GET", w.url("/held"), nil))
	receive(t, "the request reaches the origin", origin.arrived)

	w.agent.signal(syscall.SIGSTOP)
	began := time.Now()
	wantError(t, receive(t, "the request ends", inFlight).answer, 502, "link_lost")
	wantWithin(t, "noticing a frozen agent", began, 3500*time.Millisecond)
	offline := get(t, w.url("/"))
	wantError(t, offline, 503, "tunnel_offline")
	if offline.Header.Get("Retry-After") == "" {
		t.Error("a 503 without Retry-After")
	}
	if line := w.edge.waitLine(`"link ended"`, 1); !strings.Contains(line, `"reason":"heartbeat_lost"`) {
		t.Errorf("logged as %s", line)
	}

	w.agent.signal(syscall.SIGCONT)
	w.agent.waitLine("STATUS online", 2)
	if a := get(t, w.url("/")); a.StatusCode != 200 {
		t.Errorf("after its return: %d %s", a.StatusCode, a.body)
	}
	receive(t, "the origin hears that its caller is gone", origin.left)
}

func TestFrozenEdge(t *testing.T) {
	t.Parallel()
	p := startPlane(t)
	e := startEdge(t, p)
	c := p.create(t, "")
	ready := fmt.Sprint("127.0.0.1:", freePort(t))
	a := startAgent(t, e, c, startOrigin(t, echo), "--ping-interval=0.5", "--ping-timeout=3", "--ready-addr="+ready)
	if got := status(t, "http://"+ready+"/readyz"); got != 200 {
		t.Errorf("/readyz of a linked agent: %d", got)
	}

	e.signal(syscall.SIGSTOP)
	began := time.Now()
	a.waitLine("STATUS offline: the edge stopped answering", 1)
	wantWithin(t, "noticing a frozen edge", began, 3500*time.Millisecond)
	if got := status(t, "http://"+ready+"/readyz"); got != 503 {
		t.Errorf("/readyz of an agent without a link: %d", got)
	}

	e.signal(syscall.SIGCONT)
	a.waitLine("STATUS online", 2)
	if got := get(t, e.path(c, "/")); got.StatusCode != 200 {
		t.Errorf("after its return: %d %s", got.StatusCode, got.body)
	}
	if got := status(t, "http://"+ready+"/readyz"); got != 200 {
		t.Errorf("/readyz of an agent that is back: %d", got)
	}
}

// A link that is full is not dead: PINGs wait behind the data, both ways.
func TestSlowLinkIsNotKilled(t *testing.T) {
	t.Parallel()
	// Some 300 KB wait in queues and sockets each way, so a PING and its answer
	// need about two seconds.
	const size, rate, patience = 2_200_000, 400_000, 4
	p := startPlane(t)
	e := startEdge(t, p, "WS_PING_INTERVAL_SECONDS=0.5", fmt.Sprint("LINK_PING_TIMEOUT_SECONDS=", patience))
	c := p.create(t, "")
	slow := startSlowPipe(t, e.addr, rate)
	origin := startOrigin(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			n, err := io.Copy(io.Discard, r.Body)
			_, _ = fmt.Fprint(w, n, err)
			return
		}
		_, _ = io.WriteString(w, strings.Repeat("x", size))
	}))
	a := start(t, "agent", []string{
		"BINDU_EDGE_URL=http://" + slow, "BINDU_TUNNEL_ID=" + string(c.id), "BINDU_TUNNEL_TOKEN=" + c.token,
	}, "http", origin, "--no-ui", "--ping-interval=0.5", fmt.Sprint("--ping-timeout=", patience))
	a.waitLine("STATUS online", 1)

	began := time.Now()
	up := ask(request(t.Context(), t, "POST", e.path(c, "/"), strings.NewReader(strings.Repeat("x", size))))
	down := ask(request(t.Context(), t, "GET", e.path(c, "/"), nil))
	wantAnswer(t, receive(t, "the upload ends", up), fmt.Sprint(size, " <nil>"))
	wantAnswer(t, receive(t, "the download ends", down), strings.Repeat("x", size))
	if took := time.Since(began); took < (patience+1)*time.Second {
		t.Fatalf("the pipe was not busy for longer than a heartbeat: %s", took)
	}
	if a.count("STATUS online") != 1 || a.count("STATUS offline") != 0 {
		t.Error("the link was lost meanwhile")
	}
}

// startSlowPipe forwards connections to addr at rate bytes a second each way,
// and holds little of what it has not forwarded yet.
func startSlowPipe(t *testing.T, addr string, rate int) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var pipes sync.WaitGroup
	t.Cleanup(pipes.Wait)
	t.Cleanup(func() { _ = l.Close() })
	pipe := func(to, from net.Conn) {
		defer func() { _ = to.Close() }()
		buffer := make([]byte, 16<<10)
		for {
			n, err := from.Read(buffer)
			if err != nil {
				return
			}
			if _, err := to.Write(buffer[:n]); err != nil {
				return
			}
			select {
			case <-time.After(time.Duration(n) * time.Second / time.Duration(rate)):
			case <-t.Context().Done():
				return
			}
		}
	}
	pipes.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", addr)
			if err != nil {
				_ = in.Close()
				continue
			}
			for _, conn := range []net.Conn{in, out} {
				// Not smaller: a segment of the loopback has 64 KB.
				_ = conn.(*net.TCPConn).SetReadBuffer(128 << 10)
				t.Cleanup(func() { _ = conn.Close() })
			}
			pipes.Go(func() { pipe(in, out) })
			pipes.Go(func() { pipe(out, in) })
		}
	})
	return l.Addr().String()
}
