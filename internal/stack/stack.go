// Package stack saves the goroutine of a request from growing its stack again and
// again: net/http's HTTP/2 server starts one for each, with the smallest stack,
// and each growth deep in a request copies all frames above it. It knows nothing
// of requests.
package stack

const enough = 12 << 10 // for the way of a request through either side of a link

// Grow makes room at once, and is worth calling where few frames are there to
// copy: first of all in a handler.
//
//go:noinline
func Grow() {
	var room [enough]byte
	touch(&room)
}

// touch keeps the compiler from leaving out the room. Not a word is read.
//
//go:noinline
func touch(*[enough]byte) {}
