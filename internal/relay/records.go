package relay

import (
	"bufio"
	"net"
	"sync"
	"syscall"

	"github.com/getbindu/bindu-edge/internal/coalesce"
)

// recordConn lies between TLS and what carries it. TLS would write each record of
// 16 KiB by itself and read hardly more than one at a time, and what that costs a
// hop is mostly the system calls and the wake-ups of the other pod: here, all
// records of one batch are one write, and a read takes what is there.
type recordConn struct {
	net.Conn
	in *bufio.Reader // nil = each Read is one of Conn

	mu   sync.Mutex // held while writing: records must not change their order
	held *[]byte    // what waits for release; nil = nothing is held back
}

// readAhead is how much of what has arrived is read at once.
const readAhead = 64 << 10

func newRecordConn(raw net.Conn) *recordConn {
	c := &recordConn{Conn: raw}
	if _, socket := raw.(syscall.Conn); socket {
		c.in = bufio.NewReaderSize(raw, readAhead)
	}
	return c
}

func (c *recordConn) Read(p []byte) (int, error) {
	if c.in == nil {
		return c.Conn.Read(p)
	}
	return c.in.Read(p)
}

func (c *recordConn) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.held != nil {
		*c.held = append(*c.held, p...)
		return len(p), nil
	}
	return c.Conn.Write(p)
}

// hold keeps what is written until release, which must follow.
func (c *recordConn) hold() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.held = batches.Get().(*[]byte)
}

func (c *recordConn) release() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	held := c.held
	c.held = nil
	defer func() {
		*held = (*held)[:0]
		batches.Put(held)
	}()
	if len(*held) == 0 {
		return nil
	}
	_, err := c.Conn.Write(*held)
	return err
}

// batches have room for what the queue of a connection holds, as records.
var batches = sync.Pool{New: func() any {
	b := make([]byte, 0, coalesce.Size+1<<10)
	return &b
}}
