package h2

import (
	"encoding/binary"
	"errors"
	"sync"

	"github.com/getbindu/bindu-edge/internal/wire"
)

// errWindow ends a connection whose far side allows more to be sent on a stream
// than a window can be.
var errWindow = errors.New("a WINDOW_UPDATE is beyond what a flow-control window can be")

const (
	maxWindow     = 1<<31 - 1 // RFC 9113, section 6.9.1
	firstWindow   = 1<<16 - 1 // section 6.9.2
	settingWindow = 4         // SETTINGS_INITIAL_WINDOW_SIZE
	settingFrame  = 5         // SETTINGS_MAX_FRAME_SIZE
	settingSize   = 6

	// keptEnded is how many streams are remembered after their end, for the moment
	// that net/http takes to forget them.
	keptEnded = 64
)

// windows follows what the far side lets us send on each stream. It is there for
// one thing: net/http up to Go 1.26 locks up for good, with all who ask it
// anything, when a WINDOW_UPDATE takes the window of a stream over its maximum
// (golang.org/x/net/http2 does not). Such a frame must not reach it, and ends
// the connection instead, as the RFC allows (section 6.9.1).
type windows struct {
	mu      sync.Mutex
	initial int64 // the largest that was set
	highest uint32
	streams map[uint32]window
	ended   []uint32 // the last to end, a ring
	oldest  int

	in  scanner // owned by Read
	out scanner // owned by Write

	meter    *meter // what counts what comes in; nil = nothing does
	returned uint32 // of a WINDOW_UPDATE that goes out; owned by Write

	value [settingSize]byte // of a SETTINGS or WINDOW_UPDATE frame that is coming in
	have  int
}

// window is that of one stream, without what all began with.
type window struct {
	credit    int64 // what was allowed, less what was sent
	near, far bool  // ended by this side, and by the other
}

// sending notes frames before they are written.
func (w *windows) sending(p []byte) {
	for len(p) > 0 {
		var payload []byte
		var begun bool
		if payload, p, begun = w.out.next(p); !begun {
			if len(payload) > 0 && w.out.kind() == frameWindowUpdate && w.out.stream() == 0 {
				w.giveBack(payload)
			}
			continue
		}
		id, end := w.out.stream(), w.out.flags()&flagEndStream != 0
		switch w.out.kind() {
		case frameHeaders:
			w.change(id, func(s *window) { s.near = s.near || end }, true)
		case frameData:
			sent := int64(w.out.left)
			w.change(id, func(s *window) { s.credit -= sent; s.near = s.near || end }, false)
		case frameReset:
			w.change(id, func(s *window) { s.near, s.far = true, true }, false)
		}
	}
}

// giveBack looks at part of a WINDOW_UPDATE of the connection that goes out.
func (w *windows) giveBack(p []byte) {
	for _, b := range p {
		w.returned = w.returned<<8 | uint32(b)
	}
	if w.out.left == 0 {
		w.meter.returned(int64(w.returned &^ (1 << 31)))
		w.returned = 0
	}
}

// begun looks at the head of a frame that comes in.
func (w *windows) begun() {
	w.have = 0
	id, end := w.in.stream(), w.in.flags()&flagEndStream != 0
	switch kind := w.in.kind(); {
	case kind == frameReset:
		w.change(id, func(s *window) { s.near, s.far = true, true }, false)
	case end && (kind == frameData || kind == frameHeaders):
		w.change(id, func(s *window) { s.far = true }, false)
	}
}

// payload looks at part of a frame that comes in.
func (w *windows) payload(p []byte) error {
	size := 4
	switch w.in.kind() {
	case frameWindowUpdate:
	case frameSettings:
		size = settingSize
	default:
		return nil
	}
	for len(p) > 0 {
		n := copy(w.value[w.have:size], p)
		if w.in.kind() == frameSettings {
			w.lower(p[:n])
		}
		p = p[n:]
		if w.have += n; w.have < size {
			return nil
		}
		w.have = 0
		if w.in.kind() == frameSettings {
			w.set(binary.BigEndian.Uint16(w.value[:]), binary.BigEndian.Uint32(w.value[2:]))
		} else if err := w.allow(w.in.stream(), binary.BigEndian.Uint32(w.value[:])&^(1<<31)); err != nil {
			return err
		}
	}
	return nil
}

// lower makes a larger SETTINGS_MAX_FRAME_SIZE wire.MaxReadFrame, in p, which is the
// part of a setting that begins at have: net/http takes a buffer of that size, of up
// to 512 KiB, for each request's body.
func (w *windows) lower(p []byte) {
	const high = wire.MaxReadFrame >> 16 // what lies below is 0
	if w.have+len(p) < 3 || binary.BigEndian.Uint16(w.value[:]) != settingFrame {
		return
	}
	for i := range p {
		switch at := w.have + i; {
		case at == 3:
			p[i] = min(w.value[3], high)
		case at > 3 && w.value[3] >= high:
			p[i] = 0
		}
	}
}

func (w *windows) set(setting uint16, value uint32) {
	if setting == settingWindow {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.initial = max(w.initial, int64(value))
	}
}

// allow adds to a window. What comes for a stream that net/http has forgotten does
// nothing there; one for a stream that was not yet opened breaks the protocol
// (section 5.1), and could be for one that net/http is about to open.
func (w *windows) allow(id, increment uint32) error {
	if id == 0 {
		return nil // net/http ends the connection by itself
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if id > w.highest {
		return errWindow
	}
	s, ok := w.streams[id]
	if !ok {
		return nil
	}
	s.credit += int64(increment)
	if max(w.initial, firstWindow)+s.credit > maxWindow {
		return errWindow
	}
	w.streams[id] = s
	return nil
}

// change changes a stream; with open it may be a new one.
func (w *windows) change(id uint32, change func(*window), open bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	s, ok := w.streams[id]
	if !ok {
		if !open || id <= w.highest {
			return
		}
		if w.highest = id; w.streams == nil {
			w.streams = make(map[uint32]window)
		}
	}
	over := s.near && s.far
	change(&s)
	w.streams[id] = s
	if s.near && s.far && !over {
		w.forget(id)
	}
}

// forget lets go of the stream that ended longest ago, in favour of id.
func (w *windows) forget(id uint32) {
	if len(w.ended) < keptEnded {
		w.ended = append(w.ended, id)
		return
	}
	delete(w.streams, w.ended[w.oldest])
	w.ended[w.oldest] = id
	w.oldest = (w.oldest + 1) % keptEnded
}
