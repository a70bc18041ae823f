// Package interim passes on the answers before the answer: 103 and its kin (RFC
// 9110, section 15.2). They arrive on the goroutine that reads a connection for
// everybody, and a write to whoever waits for them may block for as long as that
// one likes, so they are written by a goroutine of their own.
//
// It decides which of their fields may go on. They come from agents, and are not
// trusted.
package interim

import (
	"maps"
	"net/http"
	"strings"
	"sync"

	"github.com/getbindu/bindu-edge/internal/wire"
)

// Answers are those of one request. The zero value is ready.
type Answers struct {
	mu      sync.Mutex
	over    bool // the final answer has begun, or the handler has ended
	waiting []answer
	idle    chan struct{} // closed when the goroutine has ended; nil while none runs
}

type answer struct {
	status int
	header http.Header
}

// MaxWaiting bounds how many may wait for a slow reader, and MaxBytes what they take
// together, as RFC 9113, section 6.5.2, counts; the rest is dropped, since none of
// them is needed to understand the answer.
const (
	MaxWaiting = 16
	MaxBytes   = 32 << 10
)

// Pass has to.WriteHeader write an answer with header's fields, and returns at
// once. header is only read. to's own header is as before when End has returned.
func (a *Answers) Pass(to http.ResponseWriter, status int, header http.Header) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.over || len(a.waiting) == MaxWaiting {
		return
	}
	size := sizeOf(header)
	for _, w := range a.waiting {
		size += sizeOf(w.header)
	}
	if size > MaxBytes {
		return
	}
	a.waiting = append(a.waiting, answer{status, fields(header)})
	if a.idle == nil {
		a.idle = make(chan struct{})
		go a.send(to)
	}
}

func sizeOf(header http.Header) (n int) {
	const field = 32
	for name, values := range header {
		for _, v := range values {
			n += field + len(name) + len(v)
		}
	}
	return n
}

// send writes what waits, and ends. Nobody else touches the writer or its header
// meanwhile.
func (a *Answers) send(to http.ResponseWriter) {
	header := to.Header()
	final := header.Clone()
	for {
		a.mu.Lock()
		if len(a.waiting) == 0 {
			close(a.idle)
			a.idle = nil
			a.mu.Unlock()
			return
		}
		next := a.waiting[0]
		a.waiting = a.waiting[1:]
		a.mu.Unlock()
		clear(header)
		maps.Copy(header, next.header)
		// Never sent with an interim answer. Seeing the name, the HTTP/2 server
		// works on a copy; without it, it could still be reading the map after a
		// WriteHeader that was cut short by the stream's end.
		header["Content-Length"] = nil
		to.WriteHeader(next.status)
		clear(header)
		maps.Copy(header, final)
	}
}

// Busy reports whether something is being written.
func (a *Answers) Busy() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.idle != nil
}

// Wait returns when everything taken so far is written.
func (a *Answers) Wait() {
	a.mu.Lock()
	idle := a.idle
	a.mu.Unlock()
	if idle != nil {
		<-idle
	}
}

// End writes what waits and takes no more.
func (a *Answers) End() {
	a.mu.Lock()
	a.over = true
	a.mu.Unlock()
	a.Wait()
}

// fields copies what an agent may say to a caller in an interim answer: nothing
// of ours, and nothing that is for the next hop only (RFC 9110, section 7.6.1).
func fields(header http.Header) http.Header {
	out := header.Clone()
	for _, line := range header["Connection"] {
		for name := range strings.SplitSeq(line, ",") {
			out.Del(strings.TrimSpace(name))
		}
	}
	for _, name := range []string{"Connection", "Keep-Alive", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade", "Content-Length", "Alt-Svc"} {
		delete(out, name)
	}
	wire.StripPrefix(out)
	return out
}
