package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/getbindu/bindu-edge/internal/wire"
)

// jsonAgent is an agent of the original service, in the test's own process: it
// offers no subprotocol and answers each request with its name and the path.
type jsonAgent struct {
	name  string
	conn  *websocket.Conn
	ended chan error // gets the error that ended the link, once
}

// startJSONAgent connects as c and answers until the test ends.
func startJSONAgent(t *testing.T, e *edge, c credentials, instance string) *jsonAgent {
	t.Helper()
	path, header := opens(c, instance)
	a, err := dialJSONAgent(t.Context(), e.url+path, header, "json agent")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.conn.CloseNow() })
	return a
}

// dialJSONAgent may be called beside a test. Its agent has to be closed.
func dialJSONAgent(ctx context.Context, url string, header http.Header, name string) (*jsonAgent, error) {
	dialing, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	conn, _, err := websocket.Dial(dialing, url, &websocket.DialOptions{HTTPHeader: header, CompressionMode: websocket.CompressionDisabled})
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", url, err)
	}
	a := &jsonAgent{name: name, conn: conn, ended: make(chan error, 1)}
	go func() { a.ended <- a.serve(context.WithoutCancel(ctx)) }()
	return a, nil
}

func (a *jsonAgent) serve(ctx context.Context) error {
	return eachMessage(ctx, a.conn, func(m jsonMessage) error {
		switch m.Type {
		case wire.TypeRequest:
			body, err := json.Marshal(a.name + " " + m.Path)
			if err != nil {
				return err
			}
			return a.conn.Write(ctx, websocket.MessageText, []byte(response(m.jsonRequest,
				`"status":200,"headers":{"content-type":"text/plain"},"body":`+string(body))))
		case wire.TypePing:
			return a.conn.Write(ctx, websocket.MessageText, []byte(pong))
		}
		return nil
	})
}

// jsonMessage is what an edge sends to a JSON agent.
type jsonMessage struct {
	Type string `json:"type"`
	jsonRequest
}

// jsonRequest is a request message.
type jsonRequest struct {
	ID      string            `json:"request_id"`
	Method  string            `json:"method"`
	Path    string            `json:"path"`
	Headers map[string]string `json:"headers"`
	Body    *string           `json:"body"`
	text    string            // the message as it came
}

const pong = `{"type":"pong"}`

// response is the answer to a request, with these members.
func response(r jsonRequest, members string) string {
	return `{"type":"response","request_id":"` + r.ID + `",` + members + `}`
}

var errNoJSON = errors.New("the edge sent a message that is no JSON")

// eachMessage reads messages until the link ends or do returns an error.
func eachMessage(ctx context.Context, ws *websocket.Conn, do func(jsonMessage) error) error {
	for {
		kind, text, err := ws.Read(ctx)
		if err != nil {
			return err
		}
		m := jsonMessage{jsonRequest: jsonRequest{text: string(text)}}
		if err := json.Unmarshal(text, &m); err != nil || kind != websocket.MessageText {
			return fmt.Errorf("%w: %s %q", errNoJSON, kind, text)
		}
		if err := do(m); err != nil {
			return err
		}
	}
}

// wantClosed waits for the end of the link and checks how it was told.
func (a *jsonAgent) wantClosed(t *testing.T, code websocket.StatusCode) string {
	t.Helper()
	err := receive(t, "the edge closes the link", a.ended)
	closed, ok := errors.AsType[websocket.CloseError](err)
	if !ok || closed.Code != code || len(closed.Reason) > 123 {
		t.Errorf("the link ended with %v, want code %d", err, code)
	}
	return closed.Reason
}

// wantServed asks through a tunnel until the agent answers, which has to be soon.
func wantServed(t *testing.T, url string, a *jsonAgent, path string) {
	t.Helper()
	eventually(t, "the agent answers", func() bool {
		got := get(t, url+path)
		return got.StatusCode == 200 && got.body == a.name+" "+path
	})
}

// during calls look every few milliseconds for as long as d, and stops when the
// test has failed.
func during(t *testing.T, d time.Duration, look func()) {
	t.Helper()
	end := time.NewTimer(d)
	defer end.Stop()
	tick := time.NewTicker(25 * time.Millisecond)
	defer tick.Stop()
	for !t.Failed() {
		look()
		select {
		case <-tick.C:
		case <-end.C:
			return
		}
	}
}
