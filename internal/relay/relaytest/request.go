package relaytest

import (
	"bytes"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/getbindu/bindu-edge/internal/wire"
)

// request is one as the door makes it for a link. body may be nil.
func request(t testing.TB, method, target string, body io.Reader) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://public.example/", body)
	if err != nil {
		t.Fatal(err)
	}
	path, query, hasQuery := strings.Cut(target, "?")
	req.URL = wire.LinkURL(req.Host, path, query, hasQuery)
	return req
}

// unknownLength hides how long a body is.
type unknownLength struct{ io.Reader }

// read sends req and reads the whole answer, which must have the status.
func read(t testing.TB, way http.RoundTripper, req *http.Request, status int) (*http.Response, []byte) {
	t.Helper()
	res, err := way.RoundTrip(req)
	if err != nil {
		t.Errorf("%s %s: %v", req.Method, req.URL.Opaque, err)
		return &http.Response{Header: http.Header{}}, nil
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Errorf("%s %s: after %d bytes of the body: %v", req.Method, req.URL.Opaque, len(body), err)
	}
	if res.StatusCode != status {
		t.Errorf("%s %s: status %d, want %d", req.Method, req.URL.Opaque, res.StatusCode, status)
	}
	return res, body
}

// want is read for those who know the body.
func want(t testing.TB, way http.RoundTripper, req *http.Request, status int, body string) *http.Response {
	t.Helper()
	res, got := read(t, way, req, status)
	if !bytes.Equal(got, []byte(body)) {
		t.Errorf("%s %s: a body of %d bytes, %.60q, want %d bytes, %.60q", req.Method, req.URL.Opaque, len(got), got, len(body), body)
	}
	return res
}

// noise is 16 MiB that look like nothing else.
var noise = sync.OnceValue(func() []byte {
	b := make([]byte, 16<<20)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(b) // never fails
	return b
})

func echo(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) }

// endless is a body without an end.
type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }
