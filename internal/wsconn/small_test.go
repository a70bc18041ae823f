package wsconn_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/getbindu/bindu-edge/internal/wsconn"
)

// What the peer sent before the connection was hijacked is read first.
func TestSmallBuffersKeepWhatCameEarly(t *testing.T) {
	t.Parallel()
	result := make(chan string, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		conn, buffered, err := http.NewResponseController(wsconn.SmallBuffers(w)).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer func() { _ = conn.Close() }()
		if n := buffered.Reader.Size(); n > 1024 {
			t.Errorf("a buffer of %d bytes", n)
		}
		got := make([]byte, len("early late"))
		if _, err := io.ReadFull(buffered, got); err != nil {
			t.Error(err)
		}
		result <- string(got)
		_, _ = buffered.WriteString("bye")
		_ = buffered.Flush()
	}))
	defer server.Close()
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\nearly")
	_, _ = io.WriteString(conn, " late")
	if got := <-result; got != "early late" {
		t.Errorf("read %q", got)
	}
	if got, err := io.ReadAll(bufio.NewReader(conn)); err != nil || string(got) != "bye" {
		t.Errorf("wrote %q, %v", got, err)
	}
}
