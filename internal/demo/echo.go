package demo

import (
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"strconv"
	"unicode/utf8"
)

// maxBody is the largest body that is echoed, in bytes.
const maxBody = 1 << 20

// echoed is the answer of /echo: the request as the site received it.
type echoed struct {
	Method       string      `json:"method"`
	Path         string      `json:"path"`  // as on the wire, still escaped
	Query        string      `json:"query"` // as on the wire, without the question mark
	Proto        string      `json:"proto"`
	Host         string      `json:"host"`
	Headers      http.Header `json:"headers"`
	Body         string      `json:"body"`
	BodyEncoding string      `json:"body_encoding"` // "text", or "base64" when the body is not valid UTF-8
	Length       int         `json:"length"`        // bytes of the body before any encoding
}

func echo(w http.ResponseWriter, r *http.Request) {
	// A declared length is refused before the body is read, so that a caller
	// with Expect: 100-continue (RFC 9110, section 10.1.1) uploads nothing.
	if r.ContentLength > maxBody {
		tooLarge(w)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		tooLarge(w)
		return
	}
	if err != nil {
		refuse(w, http.StatusBadRequest, "the body could not be read to its end")
		return
	}
	answer := echoed{
		Method: r.Method, Path: r.URL.EscapedPath(), Query: r.URL.RawQuery, Proto: r.Proto, Host: r.Host,
		Headers: r.Header, Body: string(body), BodyEncoding: "text", Length: len(body),
	}
	if !utf8.Valid(body) {
		answer.Body, answer.BodyEncoding = base64.StdEncoding.EncodeToString(body), "base64"
	}
	writeJSON(w, http.StatusOK, answer)
}

func tooLarge(w http.ResponseWriter) {
	refuse(w, http.StatusRequestEntityTooLarge, "a body may have at most "+strconv.Itoa(maxBody)+" bytes")
}
