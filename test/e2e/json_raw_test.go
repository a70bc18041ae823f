package e2e

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/getbindu/bindu-edge/internal/wire"
)

// rawAgent speaks the JSON protocol by hand, as agents written for the
// original service do: what it answers is written by the test, and it hides
// nothing of what the edge sends. Only pings are answered by itself.
type rawAgent struct {
	t    *testing.T
	ws   *websocket.Conn
	mute atomic.Bool // leaves pings without an answer

	handshake *http.Response
	requests  chan jsonRequest
	pings     chan struct{}
	others    chan string   // messages of every other type
	ended     chan struct{} // closed when the link has ended
	err       error         // how; set before ended is closed
}

// dialJSON opens a link as JSON agents do, with no more than a token. Fields of
// header come on top.
func dialJSON(t *testing.T, e *edge, c credentials, header http.Header) *rawAgent {
	t.Helper()
	path, all := opens(c, "")
	if c.token == "" {
		path, all = "/ws", http.Header{}
	}
	for name, values := range header {
		all[name] = values
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	ws, res, err := websocket.Dial(ctx, e.url+path, &websocket.DialOptions{HTTPHeader: all})
	if err != nil {
		t.Fatalf("handshake: %v", err)
	}
	ws.SetReadLimit(-1)
	a := &rawAgent{
		t: t, ws: ws, handshake: res,
		requests: make(chan jsonRequest, 100), pings: make(chan struct{}, 1000), others: make(chan string, 100), ended: make(chan struct{}),
	}
	go a.read()
	t.Cleanup(func() {
		_ = ws.CloseNow()
		<-a.ended
	})
	return a
}

func (a *rawAgent) read() {
	defer close(a.ended)
	a.err = eachMessage(context.Background(), a.ws, func(m jsonMessage) error {
		switch m.Type {
		case wire.TypeRequest:
			a.requests <- m.jsonRequest
		case wire.TypePing:
			a.pings <- struct{}{}
			if !a.mute.Load() {
				_ = a.ws.Write(context.Background(), websocket.MessageText, []byte(pong))
			}
		default:
			a.others <- m.text
		}
		return nil
	})
	if errors.Is(a.err, errNoJSON) {
		a.t.Error(a.err)
	}
}

// next waits for a request.
func (a *rawAgent) next() jsonRequest {
	a.t.Helper()
	return receive(a.t, "a request reaches the agent", a.requests)
}

// send sends one text message, whatever it holds.
func (a *rawAgent) send(text string) { a.write(websocket.MessageText, text) }

func (a *rawAgent) write(kind websocket.MessageType, text string) {
	a.t.Helper()
	ctx, cancel := context.WithTimeout(a.t.Context(), patience)
	defer cancel()
	if err := a.ws.Write(ctx, kind, []byte(text)); err != nil {
		a.t.Fatalf("the agent can't send %.100q: %v", text, err)
	}
}

// reply answers a request with these members of a response.
func (a *rawAgent) reply(r jsonRequest, members string) {
	a.t.Helper()
	a.send(response(r, members))
}

// wantClosed waits for the end of the link and checks what the edge says.
func (a *rawAgent) wantClosed(code websocket.StatusCode, text string) {
	a.t.Helper()
	receive(a.t, "the link ends", a.ended)
	closed, ok := errors.AsType[websocket.CloseError](a.err)
	if !ok {
		a.t.Errorf("the link ended without a close message: %v", a.err)
		return
	}
	if closed.Code != code || !strings.Contains(closed.Reason, text) {
		a.t.Errorf("closed with %d %q, want %d %q", closed.Code, closed.Reason, code, text)
	}
}

// jsonTunnel is one tunnel with an agent at its end.
type jsonTunnel struct {
	*rawAgent
	edge *edge
	cred credentials
}

// tunnelOf opens a new tunnel on an edge.
func tunnelOf(t *testing.T, p *plane, e *edge) *jsonTunnel {
	t.Helper()
	c := p.create(t, "")
	return &jsonTunnel{dialJSON(t, e, c, nil), e, c}
}

// again opens another link to the same tunnel, with fields on top.
func (j *jsonTunnel) again(header http.Header) *jsonTunnel {
	j.t.Helper()
	return &jsonTunnel{dialJSON(j.t, j.edge, j.cred, header), j.edge, j.cred}
}

// closeNow breaks the connection off.
func (a *rawAgent) closeNow() <-chan struct{} {
	_ = a.ws.CloseNow()
	return a.ended
}

// startJSON is a control plane, an edge and one tunnel.
func startJSON(t *testing.T, env ...string) (*plane, *jsonTunnel) {
	t.Helper()
	p := startPlane(t)
	return p, tunnelOf(t, p, startEdge(t, p, env...))
}

func (j *jsonTunnel) url(path string) string { return j.edge.path(j.cred, path) }

// ask makes a public request beside the test, and waits until the agent has it.
func (j *jsonTunnel) ask(method, path string) (jsonRequest, <-chan asked) {
	j.t.Helper()
	done := ask(request(j.t.Context(), j.t, method, j.url(path), nil))
	return j.next(), done
}

// through makes a request that the agent answers with these members.
func (j *jsonTunnel) through(method, path, members string) answer {
	j.t.Helper()
	r, done := j.ask(method, path)
	j.reply(r, members)
	return j.result(done)
}

// result waits for what became of a request.
func (j *jsonTunnel) result(done <-chan asked) answer {
	j.t.Helper()
	a := receive(j.t, "the request is answered", done)
	if a.err != nil {
		j.t.Fatalf("the request failed: %v", a.err)
	}
	return a.answer
}

// wantAlive checks that the link serves as before.
func (j *jsonTunnel) wantAlive() {
	j.t.Helper()
	select {
	case <-j.ended:
		j.t.Fatalf("the link has ended: %v", j.err)
	default:
	}
	if a := j.through("GET", "/alive", `"status":200,"body":"alive"`); a.StatusCode != 200 || a.body != "alive" {
		j.t.Errorf("after all that: %d %q", a.StatusCode, a.body)
	}
}

// wantLost checks that a request in flight has failed with its link.
func (j *jsonTunnel) wantLost(done <-chan asked) {
	j.t.Helper()
	began := time.Now()
	wantError(j.t, j.result(done), 502, "link_lost")
	wantWithin(j.t, "failing a request in flight", began, 500*time.Millisecond)
}
