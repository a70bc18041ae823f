// Package origin is the small dynamic server behind what is measured: bodies of
// fixed size, server-sent events with the time of their sending, and a sink for
// uploads. It decides nothing. Its callers are the benchmark's, and trusted.
package origin

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"
)

// Bounds of what may be asked for.
const (
	MaxEvents = 1_000_000
	MaxEvery  = time.Minute
)

// Handler answers
//
//	GET  /1k, /64k         1024 and 65536 bytes
//	GET  /events?n=&every= n events, one every every (a Go duration), each with
//	                       the ns since 1970 at which it was sent
//	POST /upload           200 and how many bytes came
func Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /1k", body(1<<10))
	mux.HandleFunc("GET /64k", body(64<<10))
	mux.HandleFunc("GET /events", events)
	mux.HandleFunc("POST /upload", upload)
	return mux
}

// Text is a body of size bytes as an agent's server gives it: the answer to an A2A
// message, in JSON. What a body holds matters where it is put into a string, as
// JSON agents do: each byte of value zero would become six there.
func Text(size int) []byte {
	const head = `{"jsonrpc":"2.0","id":"7d3a8c1e","result":{"kind":"message","role":"agent","messageId":"b1946ac9","parts":[{"kind":"text","text":"`
	const tail = `"}]}}`
	const words = `The tide turns at six, and the boats come in with it. `
	text := append(make([]byte, 0, size+len(words)), head...)
	for len(text) < size-len(tail) {
		text = append(text, words...)
	}
	return append(text[:size-len(tail)], tail...)
}

func body(size int) http.HandlerFunc {
	text := Text(size)
	length := strconv.Itoa(size)
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Length", length)
		_, _ = w.Write(text)
	}
}

func events(w http.ResponseWriter, r *http.Request) {
	n, err := strconv.Atoi(r.FormValue("n"))
	every, wrong := time.ParseDuration(r.FormValue("every"))
	if err != nil || wrong != nil || n < 0 || n > MaxEvents || every <= 0 || every > MaxEvery {
		http.Error(w, "n and every: how many events, and how far apart", http.StatusBadRequest)
		return
	}
	out := http.NewResponseController(w)
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	if out.Flush() != nil {
		return
	}
	// Streams that are opened together begin at different moments, so that their
	// events don't meet each other all the time.
	next := time.NewTimer(rand.N(every))
	defer next.Stop()
	for range n {
		select {
		case <-next.C:
		case <-r.Context().Done():
			return
		}
		next.Reset(every)
		if _, err := fmt.Fprintf(w, "data: %d\n\n", time.Now().UnixNano()); err != nil || out.Flush() != nil {
			return
		}
	}
}

func upload(w http.ResponseWriter, r *http.Request) {
	// A large buffer, and none of io.Discard's own: the sink should cost little.
	n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, r.Body, make([]byte, 256<<10))
	if err != nil {
		panic(http.ErrAbortHandler) // the caller must not take this for an answer
	}
	_, _ = fmt.Fprintln(w, n)
}
