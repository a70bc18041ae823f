package ingress

import (
	"maps"
	"net/http"
	"strings"
	"sync"

	"github.com/getbindu/bindu-edge/internal/wire"
)

// interim passes on the answers before the answer: 103 and its kin (RFC 9110,
// section 15.2). They arrive on the goroutine that reads the agent's link for
// everybody, and a write to a caller may block for as long as that caller likes,
// so they are written by a goroutine of their own.
type interim struct {
	allowed bool // HTTP/1.0 knows none

	mu      sync.Mutex
	over    bool // the final answer has begun, or the handler has ended
	waiting []interimAnswer
	idle    chan struct{} // closed when the goroutine has ended; nil while none runs
}

type interimAnswer struct {
	status int
	header http.Header
}

// maxInterim bounds how many may wait for a slow caller; the rest is dropped,
// since none of them is needed to understand the answer.
const maxInterim = 16

// pass takes the header's fields and returns at once.
func (i *interim) pass(w *response, status int, header http.Header) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if !i.allowed || i.over || len(i.waiting) == maxInterim {
		return
	}
	i.waiting = append(i.waiting, interimAnswer{status, interimHeader(header)})
	if i.idle == nil {
		i.idle = make(chan struct{})
		go i.send(w)
	}
}

// goAhead tells the caller to send the body that it has announced by "Expect:
// 100-continue". The server would do so by itself, but not in order with other
// interim answers.
func (i *interim) goAhead(w *response) {
	i.pass(w, http.StatusContinue, nil)
	i.wait()
}

// send writes what waits, and ends. Nobody else touches the server's writer or
// its header meanwhile.
func (i *interim) send(w *response) {
	header := w.ResponseWriter.Header()
	final := header.Clone()
	for {
		i.mu.Lock()
		if len(i.waiting) == 0 {
			close(i.idle)
			i.idle = nil
			i.mu.Unlock()
			return
		}
		next := i.waiting[0]
		i.waiting = i.waiting[1:]
		i.mu.Unlock()
		clear(header)
		maps.Copy(header, next.header)
		// Never sent with an interim answer. Seeing the name, the HTTP/2 server
		// works on a copy; without it, it could still be reading the map after a
		// WriteHeader that was cut short by the stream's end.
		header["Content-Length"] = nil
		w.clock.writing()
		w.ResponseWriter.WriteHeader(next.status)
		w.clock.wrote()
		clear(header)
		maps.Copy(header, final)
	}
}

func (i *interim) busy() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.idle != nil
}

// wait returns when everything taken so far is written.
func (i *interim) wait() {
	i.mu.Lock()
	idle := i.idle
	i.mu.Unlock()
	if idle != nil {
		<-idle
	}
}

// end writes what waits and takes no more.
func (i *interim) end() {
	i.mu.Lock()
	i.over = true
	i.mu.Unlock()
	i.wait()
}

// interimHeader copies what an agent may say to a caller in an interim answer:
// nothing of ours, and nothing that is for the next hop only (RFC 9110, section
// 7.6.1).
func interimHeader(header http.Header) http.Header {
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
