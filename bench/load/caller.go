package load

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"time"
)

// caller is one connection of HTTP/1.1. It is a good deal cheaper than
// http.Client, whose two goroutines a connection would take the processor from
// what is measured. One goroutine uses it at a time.
type caller struct {
	target *url.URL
	dial   func(context.Context) (net.Conn, error)
	conn   net.Conn // nil when there is none
	in     *bufio.Reader
	get    *http.Request // what ReadResponse asks for: answers to a GET have a body
	buf    []byte
}

func newCaller(target *url.URL, dial func(context.Context) (net.Conn, error)) (*caller, error) {
	if dial == nil {
		dial = func(ctx context.Context) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "tcp", target.Host)
		}
	}
	get, err := http.NewRequest(http.MethodGet, target.String(), nil)
	if err != nil {
		return nil, err
	}
	return &caller{target: target, dial: dial, get: get, buf: make([]byte, 64<<10)}, nil
}

// connect opens the connection if there is none.
func (c *caller) connect(ctx context.Context) error {
	if c.conn != nil {
		return nil
	}
	conn, err := c.dial(ctx)
	if err != nil {
		return err
	}
	c.conn, c.in = conn, bufio.NewReaderSize(conn, 16<<10)
	return nil
}

func (c *caller) close() {
	if c.conn != nil {
		c.conn.Close()
		c.conn = nil
	}
}

// until bounds what follows on the connection, by time (0: no bound) and by
// ctx. The caller calls stop when it is done.
func (c *caller) until(ctx context.Context, timeout time.Duration) (stop func() bool) {
	conn := c.conn
	if timeout > 0 {
		_ = conn.SetDeadline(time.Now().Add(timeout)) // a connection that is gone says so at the next write
	}
	return context.AfterFunc(ctx, func() { conn.Close() })
}

// send writes a request with size bytes of body.
func (c *caller) send(method string, body io.Reader, size int64) error {
	head := fmt.Appendf(c.buf[:0], "%s %s HTTP/1.1\r\nHost: %s\r\n", method, c.target.RequestURI(), c.target.Host)
	if body != nil {
		head = fmt.Appendf(head, "Content-Length: %d\r\n", size)
	}
	if _, err := c.conn.Write(append(head, "\r\n"...)); err != nil || body == nil {
		return err
	}
	n, err := io.CopyBuffer(c.conn, onlyReader{io.LimitReader(body, size)}, c.buf)
	if err == nil && n != size {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// receive reads an answer to its end.
func (c *caller) receive() (status int, size int64, err error) {
	res, err := http.ReadResponse(c.in, c.get)
	if err != nil {
		return 0, 0, err
	}
	size, err = io.CopyBuffer(onlyWriter{io.Discard}, res.Body, c.buf)
	res.Body.Close()
	if err != nil || res.Close {
		c.close()
	}
	return res.StatusCode, size, err
}

// failed gives the connection up and names the kind of err.
func (c *caller) failed(kind string, err error) string {
	c.close()
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return "timeout"
	}
	return kind
}

// onlyReader and onlyWriter hide the shortcuts of io.Copy, which would bring
// buffers of their own, much smaller.
type (
	onlyReader struct{ io.Reader }
	onlyWriter struct{ io.Writer }
)
