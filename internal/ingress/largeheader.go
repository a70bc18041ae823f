package ingress

import "net/http"

// The server would write a header when the handler is done, if nothing comes before:
// then no clock runs, and nothing of the answer counts as memory any more. What does
// not fit in its buffer is written sooner.
const (
	largeHeader = 4 << 10 // bytes of text
	// An answer over HTTP/2 whose header is all can't say so in a header that is
	// written sooner, which gRPC needs to see.
	largeAlone = 32 << 10
)

// mustFlush reports whether the header has to be written at once.
func (w *response) mustFlush(status int) bool {
	header, size := w.ResponseWriter.Header(), 0
	for name, values := range header {
		for _, v := range values {
			size += len(name) + len(v)
		}
	}
	if w.large = size > largeHeader; !w.large || w.empty && w.http2 && size <= largeAlone {
		return false
	}
	if w.empty && header["Content-Length"] == nil && header["Trailer"] == nil && status != http.StatusNoContent && status != http.StatusNotModified && !w.head {
		header["Content-Length"] = []string{"0"} // which the server would know at the end
	}
	return true
}

// flushHeader writes the header to the caller, who may take its time.
func (w *response) flushHeader() {
	if w.clock.fired.Load() {
		w.unblock() // it was cut before there was something to unblock
	}
	if w.flush() != nil {
		w.failed.Store(true)
	}
}
