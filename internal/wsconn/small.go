package wsconn

import (
	"bufio"
	"net"
	"net/http"

	"github.com/coder/websocket"
)

// What stands above a Socket needs no more than a WebSocket frame's header. What is
// larger is read and written past these, and the Socket gathers both into one
// write.
const (
	smallReader = 16
	smallWriter = 16
)

// Small is a ResponseWriter for websocket.Accept that hijacks its connection
// with small buffers in place of the server's, of 4 KiB each way, which would
// be most of what an idle connection costs. The server keeps its own for as long
// as its handler runs.
type Small struct {
	http.ResponseWriter
	socket *Socket // once hijacked
}

// SmallBuffers wraps w.
func SmallBuffers(w http.ResponseWriter) *Small { return &Small{ResponseWriter: w} }

// Unwrap is for http.ResponseController.
func (w *Small) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Hijack is what websocket.Accept calls.
func (w *Small) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, server, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	if err := server.Writer.Flush(); err != nil {
		_ = conn.Close()
		return nil, nil, err
	}
	s := NewSocket(conn)
	reader := server.Reader
	if s.raw != nil {
		if n := reader.Buffered(); n > 0 { // at most the 4 KiB of the server's buffer
			early, _ := reader.Peek(n) // is there
			s.buffer = readBuffers.Get().(*[readSize]byte)
			s.from, s.to = 0, copy(s.buffer[:], early)
		}
		s.exact = true
		reader = bufio.NewReaderSize(s, smallReader)
	}
	w.socket = s
	return s, bufio.NewReadWriter(reader, bufio.NewWriterSize(s, smallWriter)), nil
}

// Socket is what the WebSocket that was accepted on w is over.
func (w *Small) Socket() *Socket { return w.socket }

// Conn makes a Conn of the WebSocket that was accepted on w.
func (w *Small) Conn(ws *websocket.Conn, remote net.Addr) *Conn {
	c := New(ws, nil, remote)
	c.socket = w.socket
	return c
}
