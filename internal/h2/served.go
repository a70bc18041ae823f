package h2

import (
	"io"
	"sync"

	"github.com/getbindu/bindu-edge/internal/fault"
)

// Served is a connection that is served here by net/http, over bytes that somebody
// else has connected. It counts in a Budget what the bodies of its requests hold
// that nobody has read yet, as a Conn does for those of responses: what has come and
// was not given back on the connection's window is in memory (RFC 9113, section
// 6.9.1). What the far side sends is untrusted.
type Served struct {
	Carrier
	bodies  accounts
	windows windows

	mu     sync.Mutex
	coming int // bodies whose requests have come, and whose handlers have not
	ended  bool
}

// Serve joins a connection on which a body may have window bytes unread.
func (b *Budget) Serve(conn Carrier, window int64) *Served {
	s := &Served{Carrier: conn}
	s.bodies.ofUploads(b, window, &meter{})
	s.windows.meter = s.bodies.meter
	s.windows.in.left = prefaceSize
	return s
}

// ErrNotTaken ends a request whose body's reader has been away for longest, while
// bodies took too much memory.
var ErrNotTaken = fault.New(fault.FirstByteTimeout, "The agent took nothing of the request for a moment, and the memory was needed.")

// Body counts body, which has length bytes (negative: nobody knows). Over the budget
// it is ended, and cut is called, when its reader has been away the longest. asked
// says that none of it comes before somebody reads.
func (s *Served) Body(body io.ReadCloser, length int64, asked bool, cut func()) io.ReadCloser {
	counted := s.bodies.upload(body, length, asked, cut)
	s.come(-1)
	return counted
}

// come notes a request that has come, 1, or whose handler has, -1. What the bodies of
// those in between can hold is already there while the handlers begin.
func (s *Served) come(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ended && s.coming+n >= 0 {
		s.coming += n
		s.bodies.one.add(int64(n) * s.bodies.one.window)
	}
}

// end is called when nothing comes any more.
func (s *Served) end() {
	s.mu.Lock()
	if !s.ended {
		s.ended = true
		s.bodies.one.add(-int64(s.coming) * s.bodies.one.window)
	}
	s.mu.Unlock()
	s.windows.meter.end()
}

func (s *Served) Read(p []byte) (int, error) {
	s.windows.meter.hold(s.Done())
	n, err := s.Carrier.Read(p)
	in := &s.windows.in
	for rest := p[:n]; len(rest) > 0; {
		var begun bool
		if _, rest, begun = in.next(rest); !begun {
			continue
		}
		switch in.kind() {
		case frameData:
			s.windows.meter.change(int64(in.left), 0)
		case frameHeaders:
			if in.flags()&flagEndStream == 0 {
				s.come(1)
			}
		}
	}
	if err != nil {
		s.end()
	}
	return n, err
}

func (s *Served) Write(p []byte) (int, error) {
	out := &s.windows.out
	for rest := p; len(rest) > 0; {
		var payload []byte
		var begun bool
		if payload, rest, begun = out.next(rest); !begun && out.kind() == frameWindowUpdate && out.stream() == 0 {
			s.windows.giveBack(payload)
		}
	}
	return s.Carrier.Write(p)
}

func (s *Served) Close() error {
	err := s.Carrier.Close()
	s.end()
	return err
}
