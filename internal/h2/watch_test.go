package h2

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"golang.org/x/net/http2"
)

// cut is a carrier from which nothing comes but the end.
type cut struct {
	Carrier
	done chan struct{}
}

func (c *cut) Read([]byte) (int, error) { close(c.done); return 0, io.EOF }
func (c *cut) Close() error             { close(c.done); return nil }
func (c *cut) Done() <-chan struct{}    { return c.done }
func (c *cut) Err() error               { return errors.New("cut") }

// Whoever watches a connection hears of its GOAWAY, of its end in either way, and
// of its being worn out, when that can be seen.
func TestWatch(t *testing.T) {
	t.Parallel()
	var goaway bytes.Buffer
	_ = http2.NewFramer(&goaway, nil).WriteGoAway(3, http2.ErrCodeNo, nil)
	for _, row := range []struct {
		name  string
		input func(*Conn)
		seen  func(*Conn) bool
	}{
		{"GOAWAY", func(c *Conn) { _ = c.tap.scan(goaway.Bytes()) }, func(c *Conn) bool { return isClosed(c.Leaving()) && !isClosed(c.Done()) }},
		{"the far side ends it", func(c *Conn) { _, _ = c.tap.Read(make([]byte, 1)) }, func(c *Conn) bool { return isClosed(c.Leaving()) && isClosed(c.Done()) }},
		{"closed here", func(c *Conn) { _ = c.tap.Close() }, func(c *Conn) bool { return isClosed(c.Leaving()) && isClosed(c.Done()) }},
		{"GOAWAY, then the end", func(c *Conn) { _ = c.tap.scan(goaway.Bytes()); _ = c.tap.Close() }, func(c *Conn) bool { return isClosed(c.Done()) }},
		{"worn out", func(c *Conn) { c.streams.Store(wornAfter); c.wear() }, func(c *Conn) bool { return c.IsWorn() && isClosed(c.Worn()) }},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			c := &Conn{tap: newFrameTap(&cut{done: make(chan struct{})})}
			early := c.Worn()
			var seen bool // at the last call
			c.Watch(func() { seen = row.seen(c) })
			row.input(c)
			if !seen {
				t.Error("not told, or before it could be seen")
			}
			if isClosed(early) != c.IsWorn() {
				t.Error("who asked for Worn early sees something else")
			}
		})
	}
}
