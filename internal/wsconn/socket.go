package wsconn

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"
)

// Unsent is how many bytes that a link can't send yet its socket should hold
// (see socket.LimitUnsent), at both ends: everybody's requests wait behind them,
// and the PING that proves a slow link alive.
const Unsent = 32 << 10

const (
	// readSize is how much of what has come a Socket takes at once.
	readSize = 16 << 10
	// holdSize is how much a Socket gathers: one message of a full queue, masked
	// and with its header.
	holdSize = 65 << 10
	// straight is the size above which a write is cheaper than a copy. The
	// WebSocket library masks in pieces of 4 KiB, which are not above it.
	straight = 4 << 10
)

// Socket is a connection under a WebSocket. While nothing comes or goes it holds
// no buffer, however long it waits: what reads from it can do with a buffer of
// a few bytes. And it can gather the writes of one message into one system call.
//
// Where the connection is no plain socket (under TLS, say), reads go through.
type Socket struct {
	net.Conn

	raw   syscall.RawConn       // nil: reads go through
	try   func(fd uintptr) bool // reads without waiting
	exact bool                  // what reads from here holds nothing back, see Read

	reading  sync.Mutex      // guards the following, and is held while one waits
	straight []byte          // where try reads to, if not into buffer
	buffer   *[readSize]byte // nil while empty
	from, to int             // of what buffer holds, not read yet
	got      int             // what try got
	failed   error           // or why it did not

	mu        sync.Mutex // orders the writes, and is held during them
	gathering bool
	held      *[holdSize]byte // nil while empty
	holds     int
}

// NewSocket wraps conn, which belongs to the Socket from then on.
func NewSocket(conn net.Conn) *Socket {
	s := &Socket{Conn: conn}
	if sc, ok := conn.(syscall.Conn); ok && canTry {
		if raw, err := sc.SyscallConn(); err == nil {
			s.raw, s.try = raw, s.read
		}
	}
	return s
}

var (
	readBuffers = sync.Pool{New: func() any { return new([readSize]byte) }}
	holdBuffers = sync.Pool{New: func() any { return new([holdSize]byte) }}
)

// Read waits for bytes. Where Await is used, a read for at most smallReader bytes
// gets one: the buffer above, of that size, then never holds the beginning of
// the next message, and Await sees all there is.
func (s *Socket) Read(p []byte) (int, error) {
	if s.raw == nil || len(p) == 0 {
		return s.Conn.Read(p)
	}
	s.reading.Lock()
	defer s.reading.Unlock()
	if s.buffer == nil {
		if len(p) >= readSize {
			s.straight = p
			err := s.await()
			s.straight = nil
			return s.got, err
		}
		if err := s.await(); err != nil {
			return 0, err
		}
	}
	if s.exact && len(p) <= smallReader {
		p = p[:1]
	}
	n := copy(p, s.buffer[s.from:s.to])
	s.from += n
	if s.from == s.to {
		readBuffers.Put(s.buffer)
		s.buffer = nil
	}
	return n, nil
}

// Await returns when a Read would not block. Waiting here, between two messages,
// rather than at the bottom of the WebSocket library keeps the stack of an idle
// connection small. The library may be reading meanwhile, to close.
func (s *Socket) Await() error {
	if !s.exact {
		return nil
	}
	s.reading.Lock()
	defer s.reading.Unlock()
	if s.buffer != nil {
		return nil
	}
	return s.await()
}

func (s *Socket) await() error {
	s.got, s.failed = 0, nil
	if err := s.raw.Read(s.try); err != nil {
		return err
	}
	switch {
	case s.failed != nil:
		return &net.OpError{Op: "read", Net: "tcp", Addr: s.RemoteAddr(), Err: os.NewSyscallError("read", s.failed)}
	case s.got == 0:
		return io.EOF
	}
	return nil
}

func (s *Socket) read(fd uintptr) bool {
	if s.straight != nil {
		var again bool
		s.got, again, s.failed = tryRead(fd, s.straight)
		return !again
	}
	buffer := readBuffers.Get().(*[readSize]byte)
	n, again, err := tryRead(fd, buffer[:])
	if n > 0 {
		s.buffer, s.from, s.to = buffer, 0, n
	} else {
		readBuffers.Put(buffer)
	}
	s.got, s.failed = n, err
	return !again
}

// Gather holds what is written from here on, as far as it is small, until
// Release sends it.
func (s *Socket) Gather() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gathering = true
}

// Release sends what Gather held, and writes go through again.
func (s *Socket) Release() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gathering = false
	return s.send()
}

func (s *Socket) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.gathering || len(p) > straight {
		if err := s.send(); err != nil {
			return 0, err
		}
		return s.Conn.Write(p)
	}
	if s.holds+len(p) > holdSize {
		if err := s.send(); err != nil {
			return 0, err
		}
	}
	if s.held == nil {
		s.held = holdBuffers.Get().(*[holdSize]byte)
	}
	s.holds += copy(s.held[s.holds:], p)
	return len(p), nil
}

// send writes what is held, with s.mu held.
func (s *Socket) send() error {
	if s.held == nil {
		return nil
	}
	_, err := s.Conn.Write(s.held[:s.holds])
	holdBuffers.Put(s.held)
	s.held, s.holds = nil, 0
	return err
}

// CloseWrite is what net/http looks for to end one direction.
func (s *Socket) CloseWrite() error {
	if half, ok := s.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return s.Conn.Close()
}
