package link_test

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/coder/websocket"

	"github.com/getbindu/bindu-edge/internal/link"
	"github.com/getbindu/bindu-edge/internal/wsconn"
)

// A JSON link tells whoever watches it of its goodbye and of its end.
func TestJSONWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, a := meetJSON(t, link.JSONOptions{})
		var told atomic.Int32
		l.Watch(func() { told.Add(1) })
		ctx, cancel := context.WithCancel(t.Context())
		go func() { _ = l.Goodbye(ctx) }()
		<-l.Leaving()
		synctest.Wait()
		if got := told.Load(); got != 1 {
			t.Errorf("told %d times of the goodbye", got)
		}
		cancel()
		_ = a.conn.Close()
		<-l.Done()
		synctest.Wait()
		if got := told.Load(); got != 2 {
			t.Errorf("told %d times after the end", got)
		}
	})
}

// writes counts the writes to a connection.
type writes struct {
	net.Conn
	count atomic.Int32
}

func (w *writes) Write(p []byte) (int, error) { w.count.Add(1); return w.Conn.Write(p) }

// However small the buffers of an idle connection are, a message is one system call.
func TestJSONMessageIsOneWrite(t *testing.T) {
	t.Parallel()
	here, there := net.Pipe()
	counted := &writes{Conn: there}
	var before int32
	served := make(chan *link.JSON, 1)
	dial := dialer(func(r *http.Request) (*http.Response, error) {
		w := hijackable{httptest.NewRecorder(), counted}
		small := wsconn.SmallBuffers(w)
		edge, err := websocket.Accept(small, r, nil)
		if err != nil {
			return nil, err
		}
		res := w.Result()
		res.Body = here
		before = counted.count.Load()
		served <- link.NewJSON(edge, link.JSONOptions{
			Socket: small.Socket(), Connected: &link.Connected{TunnelID: "t", Slug: "demo", PublicURL: "https://demo.example/"},
		})
		return res, nil
	})
	ws, _, err := websocket.Dial(t.Context(), "ws://edge.example/ws/t", &websocket.DialOptions{HTTPClient: &http.Client{Transport: dial}})
	if err != nil {
		t.Fatal(err)
	}
	l := <-served
	if _, _, err := ws.Read(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := counted.count.Load() - before; got != 1 {
		t.Errorf("%d writes for one message", got)
	}
	_ = ws.CloseNow()
	_ = here.Close()
	<-l.Done()
	l.Wait()
}
