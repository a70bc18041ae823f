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
	for {
		_, text, err := a.conn.Read(ctx)
		if err != nil {
			return err
		}
		var message struct {
			Type, Path string
			RequestID  string `json:"request_id"`
		}
		if err := json.Unmarshal(text, &message); err != nil {
			return err
		}
		answer := map[string]any{"type": "pong"}
		switch message.Type {
		case "request":
			answer = map[string]any{
				"type": "response", "request_id": message.RequestID, "status": 200,
				"headers": map[string]string{"content-type": "text/plain"}, "body": a.name + " " + message.Path,
			}
		case "ping":
		default:
			continue
		}
		text, err = json.Marshal(answer)
		if err != nil {
			return err
		}
		if err := a.conn.Write(ctx, websocket.MessageText, text); err != nil {
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
