package h2

import (
	"sync"
	"sync/atomic"
	"time"
)

// frameTap watches the frames that the far side sends for a GOAWAY. net/http acts
// on one but tells nobody, and a connection whose far side leaves must get no new
// requests (RFC 9113, sections 4.1 and 6.8).
type frameTap struct {
	Carrier

	// Owned by Read.
	header  [9]byte // of the frame that begins
	have    int     // how much of header is there
	payload int     // what is left of the current frame

	settings bool          // a SETTINGS frame has gone by
	ready    chan struct{} // closed when the library has acted on it

	heard      atomic.Int64 // when bytes last came, in ns since the epoch
	closedHere atomic.Bool  // the HTTP/2 library closed a connection that was alive
	once       sync.Once
	goaway     chan struct{} // closed at the first GOAWAY, and when the connection ends
	left       atomic.Bool   // a GOAWAY was seen
}

const (
	frameHeaderSize = 9
	frameSettings   = 4
	frameGoaway     = 7
)

func newFrameTap(c Carrier) *frameTap {
	t := &frameTap{Carrier: c, goaway: make(chan struct{}), ready: make(chan struct{})}
	t.heard.Store(time.Now().UnixNano())
	return t
}

func (t *frameTap) Read(p []byte) (int, error) {
	if t.settings {
		// Who reads on has done with what it read.
		t.settings = false
		select {
		case <-t.ready:
		default:
			close(t.ready)
		}
	}
	n, err := t.Carrier.Read(p)
	if n > 0 {
		t.heard.Store(time.Now().UnixNano())
		t.scan(p[:n])
	}
	if err != nil {
		t.once.Do(func() { close(t.goaway) })
	}
	return n, err
}

func (t *frameTap) Close() error {
	select {
	case <-t.Done():
	default:
		t.closedHere.Store(true)
	}
	err := t.Carrier.Close()
	t.once.Do(func() { close(t.goaway) })
	return err
}

func (t *frameTap) scan(p []byte) {
	for len(p) > 0 {
		if t.payload > 0 {
			n := min(t.payload, len(p))
			t.payload -= n
			p = p[n:]
			continue
		}
		n := copy(t.header[t.have:], p)
		t.have += n
		p = p[n:]
		if t.have == frameHeaderSize {
			t.have = 0
			t.payload = int(t.header[0])<<16 | int(t.header[1])<<8 | int(t.header[2])
			switch t.header[3] {
			case frameSettings:
				t.settings = true
			case frameGoaway:
				t.left.Store(true)
				t.once.Do(func() { close(t.goaway) })
			}
		}
	}
}

func (t *frameTap) sawGoaway() bool { return t.left.Load() }

func (t *frameTap) silentFor() time.Duration {
	return time.Since(time.Unix(0, t.heard.Load()))
}
