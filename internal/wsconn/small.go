package wsconn

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
)

// smallBuffer is enough for a WebSocket frame's header and a heartbeat message.
// What is larger is read and written past the buffer.
const smallBuffer = 512

// SmallBuffers makes w hijack its connection with small buffers in place of the
// server's, of 4 KiB each way, which would be most of what an idle connection
// costs. The server keeps its own for as long as its handler runs.
func SmallBuffers(w http.ResponseWriter) http.ResponseWriter { return smallBuffers{w} }

type smallBuffers struct{ http.ResponseWriter }

func (w smallBuffers) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w smallBuffers) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, server, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	if err := server.Writer.Flush(); err != nil {
		_ = conn.Close()
		return nil, nil, err
	}
	var from io.Reader = conn
	if n := server.Reader.Buffered(); n > 0 {
		early, _ := server.Reader.Peek(n) // is there
		from = io.MultiReader(bytes.NewReader(bytes.Clone(early)), conn)
	}
	// Who hijacks looks for early bytes in the reader's buffer, and reads the rest
	// from conn itself.
	early := server.Reader.Buffered()
	reader := bufio.NewReaderSize(from, max(smallBuffer, early))
	if _, err := reader.Peek(early); err != nil {
		_ = conn.Close()
		return nil, nil, err
	}
	return conn, bufio.NewReadWriter(reader, bufio.NewWriterSize(conn, smallBuffer)), nil
}
