package wsconn

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// deaf is a connection that can't be written to any more, while nothing comes.
type deaf struct {
	net.Conn
	now atomic.Bool
}

var errDeaf = errors.New("nobody takes it")

func (d *deaf) Write(p []byte) (int, error) {
	if d.now.Load() {
		return 0, errDeaf
	}
	return d.Conn.Write(p)
}

// A write that fails ends a Read, too: whoever reads from above learns of the end
// by that alone.
func TestAFailedWriteEndsTheRead(t *testing.T) {
	accepted := make(chan *websocket.Conn, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ws, err := websocket.Accept(w, r, nil)
		if err != nil {
			t.Error(err)
		}
		accepted <- ws
	}))
	defer server.Close()
	var under *deaf
	client := &http.Client{Transport: &http.Transport{DialContext: func(_ context.Context, network, address string) (net.Conn, error) {
		conn, err := net.Dial(network, address)
		under = &deaf{Conn: conn}
		return under, err
	}}}
	ws, _, err := websocket.Dial(t.Context(), server.URL, &websocket.DialOptions{HTTPClient: client})
	if err != nil {
		t.Fatal(err)
	}
	peer := <-accepted
	defer func() { _ = peer.CloseNow() }()
	c := New(ws, nil, nil)
	defer func() { _ = c.Close() }()
	read := make(chan error, 1)
	go func() {
		_, err := c.Read(make([]byte, 1))
		read <- err
	}()
	under.now.Store(true)
	if _, err := c.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-read:
		if !errors.Is(err, errDeaf) || !errors.Is(c.Err(), errDeaf) {
			t.Errorf("Read ended with %v, the connection with %v", err, c.Err())
		}
	case <-time.After(10 * time.Second):
		t.Error("the Read goes on")
	}
}
