package h2

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"golang.org/x/net/http2"
)

// What would take a window over its maximum ends the connection, wherever reads
// and writes cut the frames; what comes close does not.
func TestWindows(t *testing.T) {
	t.Parallel()
	type step func(near, far *http2.Framer) // who writes what, in this order
	open := func(id uint32, end bool) step {
		return func(near, _ *http2.Framer) {
			_ = near.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: []byte{0x82}, EndHeaders: true, EndStream: end})
		}
	}
	send := func(id uint32, size int, end bool) step {
		return func(near, _ *http2.Framer) { _ = near.WriteData(id, end, make([]byte, size)) }
	}
	allow := func(id, n uint32) step { return func(_, far *http2.Framer) { _ = far.WriteWindowUpdate(id, n) } }
	begin := func(n uint32) step {
		return func(_, far *http2.Framer) {
			_ = far.WriteSettings(http2.Setting{ID: http2.SettingMaxFrameSize, Val: 1 << 20}, http2.Setting{ID: http2.SettingInitialWindowSize, Val: n})
		}
	}
	answer := func(id uint32, end bool) step {
		return func(_, far *http2.Framer) {
			_ = far.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: []byte{0x88}, EndHeaders: true, EndStream: end})
		}
	}
	reset := func(_, far *http2.Framer) { _ = far.WriteRSTStream(1, http2.ErrCodeCancel) }
	const most = 1<<31 - 1
	var many []step
	for i := range uint32(200) {
		many = append(many, open(2*i+1, true), allow(2*i+1, most-firstWindow), answer(2*i+1, true))
	}
	for _, row := range []struct {
		name  string
		input []step
		ok    bool
	}{
		{"as much as can be", []step{open(1, false), allow(1, most-firstWindow)}, true},
		{"one more", []step{open(1, false), allow(1, most-firstWindow+1)}, false},
		{"one more, in two", []step{open(1, false), allow(1, most-firstWindow), allow(1, 1)}, false},
		{"as much as was sent", []step{open(1, false), allow(1, most-firstWindow), send(1, 1000, false), allow(1, 1000)}, true},
		{"more than was sent", []step{open(1, false), allow(1, most-firstWindow), send(1, 1000, false), allow(1, 1001)}, false},
		{"sent on another stream", []step{open(1, false), open(3, false), send(3, 1000, false), allow(1, most-firstWindow), allow(1, 1)}, false},
		{"the largest beginning", []step{begin(most), open(1, false), send(1, 5, false), allow(1, 5)}, true},
		{"more than the largest beginning", []step{begin(most), open(1, false), send(1, 5, false), allow(1, 6)}, false},
		{"a beginning that grows", []step{open(1, false), begin(most), allow(1, 1)}, false},
		{"a beginning that shrinks", []step{begin(most), begin(0), open(1, false), allow(1, 1)}, false},
		{"the whole connection", []step{open(1, false), allow(0, most)}, true}, // net/http's own affair
		{"a stream that was never opened", []step{open(1, true), allow(3, 1)}, false},
		{"of this side's end", []step{open(1, true), allow(1, most)}, false},
		{"after the answer", []step{open(1, true), answer(1, true), allow(1, most)}, false},
		{"after half of it", []step{open(1, false), answer(1, true), allow(1, most)}, false},
		{"after a reset", []step{open(1, false), reset, allow(1, most)}, false},
		{"when it is long forgotten", append(many[:len(many):len(many)], allow(1, most), allow(3, most)), true},
		{"not yet forgotten", append(many[:len(many):len(many)], allow(399, 1)), false},
	} {
		for _, cut := range []int{1, 2, 5, 9, 13, 1 << 20} {
			t.Run(fmt.Sprint(row.name, ", by ", cut), func(t *testing.T) {
				t.Parallel()
				var near, far bytes.Buffer
				tap := newFrameTap(&sink{})
				n, f := http2.NewFramer(&near, nil), http2.NewFramer(&far, nil)
				near.WriteString(http2.ClientPreface)
				var got error
				for _, s := range row.input {
					s(n, f)
					for near.Len() > 0 {
						_, _ = tap.Write(near.Next(cut))
					}
					for far.Len() > 0 && got == nil {
						got = tap.scan(far.Next(cut))
					}
				}
				if (got == nil) != row.ok || got != nil && !errors.Is(got, errWindow) {
					t.Errorf("got %v", got)
				}
				if kept := len(tap.windows.streams); kept > keptEnded+1 {
					t.Errorf("%d streams are remembered", kept)
				}
			})
		}
	}
}

// sink takes what is written.
type sink struct{ Carrier }

func (*sink) Write(p []byte) (int, error) { return len(p), nil }

// A far side that allows more than there can be ends its own connection, and
// nobody who asks about that waits for ever. net/http alone would lock up here.
func TestWindowOverflow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			defer func() { _ = far.Close() }()
			if _, err := io.ReadFull(far, make([]byte, prefaceSize)); err != nil {
				t.Error(err)
			}
			f := http2.NewFramer(far, far)
			written := make(chan error, 1)
			go func() { written <- errors.Join(f.WriteSettings(), f.WriteSettingsAck()) }()
			for {
				frame, err := f.ReadFrame()
				if err != nil {
					return
				}
				if h, ok := frame.(*http2.HeadersFrame); ok {
					go func() {
						if err := <-written; err != nil {
							return
						}
						_ = f.WriteWindowUpdate(h.StreamID, 1<<31-1) // over the pipe, which may be closed by then
					}()
				}
			}
		}()
		c, err := NewOpener(Options{}).Open(t.Context(), &carrier{Conn: near, done: make(chan struct{})})
		if err != nil {
			t.Fatal(err)
		}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://x/", io.NopCloser(strings.NewReader(strings.Repeat("x", 1<<20))))
		if err != nil {
			t.Fatal(err)
		}
		if res, err := c.RoundTrip(req); err == nil {
			t.Errorf("answered with %d", res.StatusCode)
		}
		<-c.Done()
		if gaveUp, _ := c.GaveUp(); !gaveUp {
			t.Error("it ended for another reason")
		}
		synctest.Wait()
		_ = c.InFlight() // returns at all
		_ = c.Close()
		<-ended
	})
}
