package guesses

import (
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"
)

var (
	here  = netip.MustParseAddr("192.0.2.1")
	there = netip.MustParseAddr("192.0.2.2")
)

func TestWait(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name  string
		input netip.Addr
		other netip.Addr // that waits no longer than any
		same  netip.Addr // that waits as long
	}{
		{"IPv4", here, there, here},
		{"IPv6", netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8:0:1::1"), netip.MustParseAddr("2001:db8::2")},
		{"none", netip.Addr{}, here, netip.Addr{}},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				g := New()
				for i := range Max {
					if d := g.Wait(row.input, "wrong"); d != 0 {
						t.Errorf("after %d wrong keys it waits %s", i, d)
					}
					g.Wrong(row.input, "wrong")
					time.Sleep(time.Second)
				}
				if d := g.Wait(row.same, "another"); d != Window-time.Second {
					t.Errorf("after %d wrong keys it waits %s", Max, d)
				}
				if d := g.Wait(row.other, "wrong"); d != 0 {
					t.Errorf("somebody else waits %s", d)
				}
				time.Sleep(Window - time.Second)
				if d := g.Wait(row.input, "another"); d != 0 {
					t.Errorf("after a minute it waits %s", d)
				}
			})
		})
	}
}

// A key that was right waits for nobody's wrong ones, until it is wrong itself.
func TestARightKeyDoesNotWait(t *testing.T) {
	t.Parallel()
	g := New()
	g.Right(here, "right")
	for range Max {
		g.Wrong(here, "wrong")
		g.Wrong(there, "wrong")
	}
	if d := g.Wait(here, "right"); d != 0 {
		t.Errorf("a right key waits %s", d)
	}
	if g.Wait(there, "right") == 0 {
		t.Error("a key that was right elsewhere does not wait")
	}
	g.Wrong(here, "right")
	if g.Wait(here, "right") == 0 {
		t.Error("a key that was revoked does not wait")
	}
}

// However many keys are right, memory is bounded; one in use is not forgotten.
func TestRightKeysAreBounded(t *testing.T) {
	t.Parallel()
	g := New()
	for range Max {
		g.Wrong(here, "wrong")
	}
	for i := range 3 * maxRight {
		g.Right(here, fmt.Sprint(i))
		g.Right(here, "used")
	}
	if len(g.newer) > maxRight || len(g.older) > maxRight {
		t.Errorf("it remembers %d and %d keys", len(g.newer), len(g.older))
	}
	if g.Wait(here, "used") != 0 || g.Wait(here, "0") == 0 {
		t.Error("it remembers the wrong keys")
	}
}
