package e2e

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// events is an event stream that goes on until let is closed.
func events(let <-chan struct{}) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for i := 0; ; i++ {
			_, _ = fmt.Fprintf(w, "data: %d\n\n", i)
			_ = http.NewResponseController(w).Flush()
			select {
			case <-time.After(100 * time.Millisecond):
			case <-r.Context().Done():
				return
			case <-let:
				_, _ = io.WriteString(w, "data: end\n\n")
				return
			}
		}
	}
}

// work is an origin with a request that is held, a stream of events, and a
// WebSocket that says nothing.
func work(h *held) http.Handler {
	stream := events(h.let)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/events":
			h.arrived <- struct{}{}
			stream(w, r)
		case "/ws":
			conn, err := websocket.Accept(w, r, nil)
			if err == nil {
				_, _, _ = conn.Read(r.Context()) // until it ends
				_ = conn.CloseNow()
			}
		default:
			h.ServeHTTP(w, r)
		}
	})
}

func TestDrainFinishesWork(t *testing.T) {
	t.Parallel()
	origin := newHeld()
	w := startWorld(t, work(origin), "DRAIN_DELAY_SECONDS=12", "DRAIN_TIMEOUT_SECONDS=30")
	slow := ask(request(t.Context(), t, "GET", w.url("/held"), nil))
	stream := ask(request(t.Context(), t, "GET", w.url("/events"), nil))
	receive(t, "a request reaches the origin", origin.arrived)
	receive(t, "the other one too", origin.arrived)
	other := w.plane.create(t, "")

	w.edge.signal(syscall.SIGTERM)
	eventually(t, "the pod is not ready", func() bool { return status(t, w.edge.url+"/health/ready") == 503 })
	if got := get(t, w.edge.url+"/health/ready"); !strings.Contains(got.body, `"status":"draining"`) {
		t.Errorf("readiness says %s", got.body)
	}
	if got := status(t, w.edge.url+"/health/live"); got != 200 {
		t.Errorf("liveness of a draining pod: %d", got)
	}
	path, header := opens(other, "")
	res := knock(t, w.edge, path, header)
	wantRefusal(t, res, 503, "draining")
	if res.Header.Get("Retry-After") == "" {
		t.Error("a draining pod does not say when to come again")
	}
	header["Sec-Websocket-Protocol"] = nil
	if code, _ := closeCode(t, w.edge, path, header); code != websocket.StatusTryAgainLater {
		t.Errorf("without a subprotocol: closed with %d", code)
	}
	// The public is served meanwhile, and sent elsewhere next time.
	conn := raw(t, w.edge)
	_, _ = fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: edge\r\n\r\n", strings.TrimPrefix(w.url("/"), w.edge.url))
	got, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = got.Body.Close() }()
	if got.StatusCode != 200 || !got.Close {
		t.Errorf("during the delay: %d, Connection: close is %v", got.StatusCode, got.Close)
	}

	eventually(t, "the listener is closed", func() bool { return refusesConnections(w.edge.addr) })
	close(origin.let)
	wantAnswer(t, receive(t, "the slow request ends", slow), "let go")
	if a := receive(t, "the stream ends", stream); a.err != nil || !strings.HasSuffix(a.body, "data: end\n\n") {
		t.Errorf("the stream ended with %v: %q", a.err, a.body)
	}
	let := time.Now()
	if code := w.edge.wait(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	wantWithin(t, "ending with nothing left to do", let, 500*time.Millisecond)
	w.edge.waitLine(`"complete":true`, 1)
}

func TestDrainTimeout(t *testing.T) {
	t.Parallel()
	origin := newHeld()
	w := startWorld(t, work(origin), "DRAIN_DELAY_SECONDS=0.2", "DRAIN_TIMEOUT_SECONDS=2")
	slow := ask(request(t.Context(), t, "GET", w.url("/held"), nil))
	stream := ask(request(t.Context(), t, "GET", w.url("/events"), nil))
	receive(t, "a request reaches the origin", origin.arrived)
	receive(t, "the other one too", origin.arrived)
	socket := dialSocket(t, w.url("/ws"))

	began := time.Now()
	w.edge.signal(syscall.SIGTERM)
	if code := w.edge.wait(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	wantWithin(t, "the drain", began, 2*time.Second)
	if took := time.Since(began); took < 1900*time.Millisecond {
		t.Errorf("work in flight was given only %s", took)
	}
	if a := receive(t, "the stream ends", stream); a.err == nil {
		t.Error("a stream that was cut looks complete")
	}
	if a := receive(t, "the slow request ends", slow); a.err == nil && a.StatusCode != 502 {
		t.Errorf("the request that was cut got %d", a.StatusCode)
	}
	if _, _, err := socket.Read(t.Context()); err == nil {
		t.Error("the WebSocket is still there")
	}
	w.edge.waitLine(`"complete":false`, 1)
}

func TestDrainWithNothingToDo(t *testing.T) {
	t.Parallel()
	e := startEdge(t, nil, "EPHEMERAL_TUNNELS=true", "DRAIN_DELAY_SECONDS=25")
	e.signal(syscall.SIGTERM)
	began := time.Now()
	if code := e.wait(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	wantWithin(t, "ending", began, 500*time.Millisecond)
}

// An agent that is asked to move has its new link before it leaves the old one,
// and the pod does not wait longer than it must.
func TestAgentMovesToAnotherPod(t *testing.T) {
	t.Parallel()
	p := startPlane(t)
	first := startEdge(t, p, "DRAIN_DELAY_SECONDS=8", "DRAIN_TIMEOUT_SECONDS=30")
	second := startEdge(t, p)
	balancer := startBalancer(t, first.addr)
	c := p.create(t, "")
	origin := newHeld()
	a := start(t, "agent", []string{
		"BINDU_EDGE_URL=http://" + balancer.addr, "BINDU_TUNNEL_ID=" + string(c.id), "BINDU_TUNNEL_TOKEN=" + c.token,
	}, "http", startOrigin(t, origin), "--no-ui", "--log-format=json")
	a.waitLine(`"linked"`, 1)
	slow := ask(request(t.Context(), t, "GET", first.path(c, "/held"), nil))
	receive(t, "the request reaches the origin", origin.arrived)

	balancer.to.Store(&second.addr)
	first.signal(syscall.SIGTERM)
	a.waitLine(`"linked"`, 2)
	if got := get(t, second.path(c, "/")); got.StatusCode != 200 {
		t.Errorf("on the new pod: %d %s", got.StatusCode, got.body)
	}
	close(origin.let)
	wantAnswer(t, receive(t, "the request on the old link ends", slow), "let go")
	let := time.Now()
	if code := first.wait(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	wantWithin(t, "ending once the agent has moved", let, time.Second)
	if a.count("STATUS offline") != 0 {
		t.Error("the agent was offline in between")
	}
}

// balancer forwards each new connection to where it points then.
type balancer struct {
	addr string
	to   atomic.Pointer[string]
}

func startBalancer(t *testing.T, to string) *balancer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	b := &balancer{addr: l.Addr().String()}
	b.to.Store(&to)
	go func() { // ends with the listener
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			go forward(t.Context(), in, *b.to.Load())
		}
	}()
	return b
}

// forward copies both ways until one side ends or ctx does.
func forward(ctx context.Context, in net.Conn, addr string) {
	defer func() { _ = in.Close() }()
	out, err := net.Dial("tcp", addr)
	if err != nil {
		return
	}
	defer func() { _ = out.Close() }()
	ended := make(chan struct{}, 2)
	for _, pair := range [][2]net.Conn{{in, out}, {out, in}} {
		go func() {
			_, _ = io.Copy(pair[0], pair[1])
			ended <- struct{}{}
		}()
	}
	select {
	case <-ended:
	case <-ctx.Done():
	}
}

// dialSocket opens a WebSocket.
func dialSocket(t *testing.T, url string) *websocket.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	conn, res, err := websocket.Dial(ctx, url, nil)
	if err != nil {
		t.Fatalf("%v: %+v", err, res)
	}
	t.Cleanup(func() { _ = conn.CloseNow() })
	return conn
}

// closeCode makes a handshake that is completed and then closed at once.
func closeCode(t *testing.T, e *edge, path string, header http.Header) (websocket.StatusCode, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	conn, res, err := websocket.Dial(ctx, e.url+path, &websocket.DialOptions{HTTPHeader: header})
	if err != nil {
		t.Fatalf("the handshake was not completed: %v: %+v", err, res)
	}
	defer func() { _ = conn.CloseNow() }()
	_, _, err = conn.Read(ctx)
	closed, ok := errors.AsType[websocket.CloseError](err)
	if !ok {
		t.Fatalf("not closed with a reason: %v", err)
	}
	return closed.Code, closed.Reason
}
