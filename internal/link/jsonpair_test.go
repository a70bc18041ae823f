package link_test

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/coder/websocket"

	"github.com/getbindu/bindu-edge/internal/link"
)

// jsonAgent is an agent that speaks JSON by hand, over a connection in memory,
// so that its time can be synctest's.
type jsonAgent struct {
	ws   *websocket.Conn
	conn net.Conn
	t    testing.TB
}

// meetJSON links a jsonAgent. Everything of both has ended when the test has.
func meetJSON(t testing.TB, o link.JSONOptions) (*link.JSON, *jsonAgent) {
	t.Helper()
	here, there := net.Pipe()
	var edge *websocket.Conn
	dial := dialer(func(r *http.Request) (*http.Response, error) {
		w := hijackable{httptest.NewRecorder(), there}
		var err error
		edge, err = websocket.Accept(w, r, nil)
		res := w.Result()
		res.Body = here
		return res, err
	})
	ws, _, err := websocket.Dial(context.Background(), "ws://edge.example/ws/t", &websocket.DialOptions{HTTPClient: &http.Client{Transport: dial}})
	if err != nil {
		t.Fatal(err)
	}
	ws.SetReadLimit(-1)
	l := link.NewJSON(edge, o)
	t.Cleanup(func() {
		_ = here.Close()
		_ = ws.CloseNow()
		l.Close(link.ReasonDraining)
		l.Wait()
	})
	return l, &jsonAgent{ws: ws, conn: here, t: t}
}

type dialer func(*http.Request) (*http.Response, error)

func (d dialer) RoundTrip(r *http.Request) (*http.Response, error) { return d(r) }

type hijackable struct {
	*httptest.ResponseRecorder
	conn net.Conn
}

func (h hijackable) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return h.conn, bufio.NewReadWriter(bufio.NewReader(h.conn), bufio.NewWriter(h.conn)), nil
}

// jsonRequest is a request message as an agent sees it.
type jsonRequest struct {
	Type         string
	RequestID    string `json:"request_id"`
	Method, Path string
	Headers      map[string]string
	Body         *string
	BodyEncoding *string `json:"body_encoding"`
	raw          []byte
}

// next reads messages until one of the type comes. false: the link has ended.
func (a *jsonAgent) next(kind string) (m jsonRequest, ok bool) {
	for {
		_, raw, err := a.ws.Read(context.Background())
		if err != nil {
			return m, false
		}
		m = jsonRequest{raw: raw}
		if err := json.Unmarshal(raw, &m); err != nil {
			a.t.Errorf("message %q: %v", raw, err)
		}
		if m.Type == kind {
			return m, true
		}
	}
}

func (a *jsonAgent) send(message string) {
	if err := a.ws.Write(context.Background(), websocket.MessageText, []byte(message)); err != nil {
		a.t.Logf("sending %.60q: %v", message, err)
	}
}

// closed reads until the link has ended and returns how.
func (a *jsonAgent) closed() (websocket.StatusCode, string) {
	for {
		if _, _, err := a.ws.Read(context.Background()); err != nil {
			ce := websocket.CloseError{Code: websocket.CloseStatus(err)}
			_ = asCloseError(err, &ce)
			return ce.Code, ce.Reason
		}
	}
}

// result is what became of a request.
type result struct {
	res  *http.Response
	body string
	err  error
}

// ask sends a request in a goroutine of its own.
func ask(l http.RoundTripper, req *http.Request) <-chan result {
	c := make(chan result, 1)
	go func() {
		res, err := l.RoundTrip(req)
		r := result{res: res, err: err}
		if err == nil {
			var body []byte
			body, r.err = io.ReadAll(res.Body)
			r.body = string(body)
			_ = res.Body.Close()
		}
		c <- r
	}()
	return c
}

// answering makes the agent answer each request with what answer returns for
// its id.
func (a *jsonAgent) answering(answer func(m jsonRequest) string) *sync.WaitGroup {
	var done sync.WaitGroup
	done.Go(func() {
		for {
			m, ok := a.next("request")
			if !ok {
				return
			}
			a.send(answer(m))
		}
	})
	return &done
}
