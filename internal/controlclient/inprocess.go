package controlclient

import (
	"bytes"
	"io"
	"net/http"
)

// InProcess is a transport that calls h instead of a network, for a control
// plane in the same process. h runs on the caller's goroutine and must heed
// the request's context; its answer is gathered whole, so it must be short.
func InProcess(h http.Handler) http.RoundTripper { return inProcess{h} }

type inProcess struct{ handler http.Handler }

// RoundTrip implements http.RoundTripper.
func (p inProcess) RoundTrip(out *http.Request) (*http.Response, error) {
	if out.Body != nil {
		defer func() { _ = out.Body.Close() }() // a RoundTripper owes it; it is memory
	}
	if err := out.Context().Err(); err != nil {
		return nil, err
	}
	in := out.Clone(out.Context()) // a handler may change what it is given
	in.RequestURI = out.URL.RequestURI()
	in.RemoteAddr = "in-process"
	in.Proto, in.ProtoMajor, in.ProtoMinor = "HTTP/1.1", 1, 1
	if in.Host == "" {
		in.Host = out.URL.Host
	}
	if in.Body == nil {
		in.Body = http.NoBody
	}
	w := &answer{header: make(http.Header)}
	p.handler.ServeHTTP(w, in)
	w.WriteHeader(http.StatusOK) // if it has not been
	if err := out.Context().Err(); err != nil {
		return nil, err // as over a network: too late is no answer
	}
	return &http.Response{
		Status: http.StatusText(w.status), StatusCode: w.status,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: w.sent, Body: io.NopCloser(&w.body), ContentLength: int64(w.body.Len()), Request: out,
	}, nil
}

// answer is an http.ResponseWriter in memory, a little roomier than what a
// client reads so that the client is the one to say "too long".
type answer struct {
	header, sent http.Header
	status       int
	body         bytes.Buffer
}

func (a *answer) Header() http.Header { return a.header }

func (a *answer) WriteHeader(status int) {
	if a.status != 0 || status < 200 { // only the first counts, and no interim one
		return
	}
	a.status, a.sent = status, a.header.Clone()
}

func (a *answer) Write(p []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	room := 2*MaxAnswerBytes - a.body.Len()
	if len(p) > room {
		n, _ := a.body.Write(p[:max(room, 0)]) // memory takes it
		return n, io.ErrShortWrite
	}
	return a.body.Write(p)
}
