package h2

import (
	"sync"
	"sync/atomic"
	"time"
)

// frameTap watches the frames that the far side sends for a GOAWAY. net/http acts
// on one but tells nobody, and a connection whose far side leaves must get no new
// requests (RFC 9113, sections 4.1 and 6.8). It also keeps from net/http what that
// can't stand.
type frameTap struct {
	Carrier
	windows windows

	settings bool          // a SETTINGS frame has gone by; owned by Read
	ready    chan struct{} // closed when the library has acted on it, and nil from then on

	heard      atomic.Int64 // when bytes last came, in ns since the epoch
	closedHere atomic.Bool  // the HTTP/2 library closed a connection that was alive
	once       sync.Once
	goaway     chan struct{} // closed at the first GOAWAY, and when the connection ends
	left       atomic.Bool   // a GOAWAY was seen

	notify atomic.Pointer[func()] // see Conn.Watch
}

func newFrameTap(c Carrier) *frameTap {
	t := &frameTap{Carrier: c, goaway: make(chan struct{}), ready: make(chan struct{})}
	t.heard.Store(time.Now().UnixNano())
	t.windows.out.left = prefaceSize
	return t
}

func (t *frameTap) Read(p []byte) (int, error) {
	if t.settings {
		// Who reads on has done with what it read.
		t.settings = false
		if t.ready != nil {
			close(t.ready)
			t.ready = nil
		}
	}
	t.windows.meter.hold(t.Done())
	n, err := t.Carrier.Read(p)
	if n > 0 {
		t.heard.Store(time.Now().UnixNano())
		if broken := t.scan(p[:n]); broken != nil {
			n, err = 0, broken
		}
	}
	if err != nil {
		t.windows.meter.end()
		t.noMore()
	}
	return n, err
}

func (t *frameTap) Write(p []byte) (int, error) {
	t.windows.sending(p)
	return t.Carrier.Write(p)
}

func (t *frameTap) Close() error {
	select {
	case <-t.Done():
	default:
		t.closedHere.Store(true)
	}
	err := t.Carrier.Close()
	t.windows.meter.end()
	t.noMore()
	return err
}

// scan looks at what the far side sends. An error is why it must not go on.
func (t *frameTap) scan(p []byte) error {
	for len(p) > 0 {
		payload, rest, begun := t.windows.in.next(p)
		p = rest
		if !begun {
			if err := t.windows.payload(payload); err != nil {
				return err
			}
			continue
		}
		switch t.windows.in.kind() {
		case frameData:
			t.windows.meter.change(int64(t.windows.in.left), 0)
		case frameSettings:
			t.settings = true
		case frameGoaway:
			t.left.Store(true)
			t.noMore()
		}
		t.windows.begun()
	}
	return nil
}

// noMore notes that the far side takes no new requests. It may come again, and
// then says that the end has come, too.
func (t *frameTap) noMore() {
	t.once.Do(func() { close(t.goaway) })
	t.tell()
}

// tell tells whoever watches that something has changed.
func (t *frameTap) tell() {
	if notify := t.notify.Load(); notify != nil {
		(*notify)()
	}
}

func (t *frameTap) sawGoaway() bool { return t.left.Load() }

func (t *frameTap) silentFor() time.Duration {
	return time.Since(time.Unix(0, t.heard.Load()))
}
