package e2e

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// noise is n bytes that compress to nothing and repeat nowhere.
func noise(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{byte(n), byte(n >> 8)}).Read(b) // never fails
	return b
}

func sum(b []byte) string {
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:])
}

// mirror answers with the body that it gets, and says how it was framed.
func mirror(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	w.Header().Set("X-Framing", fmt.Sprint(r.ContentLength, r.TransferEncoding))
	w.Header().Set("X-Sum", sum(body))
	w.Header().Set("Content-Type", "application/octet-stream")
	if r.Header.Get("X-Want") == "length" {
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	}
	_, _ = w.Write(body)
}

func TestBodies(t *testing.T) {
	t.Parallel()
	w := startWorld(t, http.HandlerFunc(mirror), "MAX_REQUEST_BODY_BYTES=0")
	h2 := callerH2(t)
	everyByte := make([]byte, 256)
	for i := range everyByte {
		everyByte[i] = byte(i)
	}
	tests := []struct {
		name    string
		body    []byte
		chunked bool
		framing string // as the origin sees it
		length  bool   // the answer has a Content-Length
	}{
		{"no body", nil, false, "0 []", false},
		{"one byte", []byte("x"), false, "1 []", false},
		{"every byte", everyByte, false, "256 []", true},
		{"chunked, empty", []byte{}, true, "-1 [chunked]", false},
		{"chunked, small", []byte("hello"), true, "-1 [chunked]", true},
		{"1 MB with length", noise(1 << 20), false, "1048576 []", true},
		{"20 MB with length", noise(20 << 20), false, "20971520 []", true},
		{"20 MB chunked", noise(20<<20 + 1), true, "-1 [chunked]", false},
	}
	for _, c := range []struct {
		name   string
		client *http.Client
	}{{"HTTP1", client}, {"HTTP2", h2}} {
		for _, test := range tests {
			t.Run(c.name+"/"+test.name, func(t *testing.T) {
				var body io.Reader
				if test.body != nil {
					body = bytes.NewReader(test.body)
				}
				if test.chunked {
					body = io.MultiReader(body) // hides the length
				}
				req := request(t.Context(), t, http.MethodPost, w.url("/"), body)
				if test.length {
					req.Header.Set("X-Want", "length")
				}
				res, err := c.client.Do(req)
				if err != nil {
					t.Fatal(err)
				}
				defer func() { _ = res.Body.Close() }()
				got, err := io.ReadAll(res.Body)
				if err != nil {
					t.Fatal(err)
				}
				if res.Header.Get("X-Sum") != sum(test.body) {
					t.Error("the origin got another body")
				}
				if !bytes.Equal(got, test.body) {
					t.Errorf("the answer differs: %d bytes, want %d", len(got), len(test.body))
				}
				if framing := res.Header.Get("X-Framing"); framing != test.framing {
					t.Errorf("framing %q, want %q", framing, test.framing)
				}
				if test.length && res.ContentLength != int64(len(test.body)) {
					t.Errorf("Content-Length %d, want %d", res.ContentLength, len(test.body))
				}
			})
		}
	}
}

func TestMethods(t *testing.T) {
	t.Parallel()
	w := startWorld(t, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		rw.Header().Set("X-Saw", r.Method+":"+string(body))
		rw.Header().Set("Content-Length", "5")
		if r.Method != http.MethodHead {
			_, _ = io.WriteString(rw, "hello")
		}
	}), "ALLOWED_METHODS=GET,HEAD,POST,PUT,PATCH,DELETE,OPTIONS,PROPFIND")
	tests := []struct {
		method, send, saw, body string
	}{
		{"GET", "", "GET:", "hello"},
		{"GET", "even so", "GET:even so", "hello"},
		{"HEAD", "", "HEAD:", ""},
		{"POST", "x", "POST:x", "hello"},
		{"PUT", "x", "PUT:x", "hello"},
		{"PATCH", "x", "PATCH:x", "hello"},
		{"DELETE", "", "DELETE:", "hello"},
		{"DELETE", "with a body", "DELETE:with a body", "hello"},
		{"OPTIONS", "", "OPTIONS:", "hello"},
		{"OPTIONS", "with a body", "OPTIONS:with a body", "hello"},
		{"PROPFIND", "x", "PROPFIND:x", "hello"},
	}
	for _, test := range tests {
		t.Run(test.method+" "+test.send, func(t *testing.T) {
			a := do(t, request(t.Context(), t, test.method, w.url("/"), strings.NewReader(test.send)))
			if a.StatusCode != 200 || a.Header.Get("X-Saw") != test.saw || a.body != test.body || a.ContentLength != 5 {
				t.Errorf("got %d, origin saw %q, body %q, length %d", a.StatusCode, a.Header.Get("X-Saw"), a.body, a.ContentLength)
			}
		})
	}
}

func TestStatuses(t *testing.T) {
	t.Parallel()
	w := startWorld(t, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		status, _ := strconv.Atoi(r.URL.Query().Get("n"))
		rw.Header().Set("X-Origin", "yes")
		rw.Header().Set("Etag", `"abc"`)
		rw.Header().Set("Retry-After", "7")
		rw.Header().Set("Www-Authenticate", `Basic realm="origin"`)
		rw.Header().Set("Content-Range", "bytes 0-4/10")
		rw.Header().Set("Location", "https://elsewhere.test/x")
		rw.WriteHeader(status)
		if status != 204 && status != 304 {
			_, _ = fmt.Fprintf(rw, "body of %d", status)
		}
	}))
	type seen struct {
		Status       int
		Body, Origin string
		Etag, Retry  string
		Auth, Range  string
		Location     string
		EdgeError    string
	}
	for _, status := range []int{200, 201, 202, 203, 204, 205, 206, 226, 299, 300, 301, 302, 303, 304, 307, 308, 399, 400, 401, 402, 403, 404, 405, 410, 413, 418, 429, 431, 451, 499, 500, 501, 502, 503, 504, 599} {
		for _, accept := range []string{"*/*", "text/html"} { // an origin's error is no occasion for our page
			t.Run(fmt.Sprint(status, " ", accept), func(t *testing.T) {
				req := request(t.Context(), t, http.MethodGet, w.url("/?n="+strconv.Itoa(status)), nil)
				req.Header.Set("Accept", accept)
				a := do(t, req)
				want := seen{status, fmt.Sprintf("body of %d", status), "yes", `"abc"`, "7", `Basic realm="origin"`, "bytes 0-4/10", "https://elsewhere.test/x", ""}
				if status == 204 || status == 304 {
					want.Body = ""
				}
				got := seen{
					a.StatusCode, a.body, a.Header.Get("X-Origin"), a.Header.Get("Etag"), a.Header.Get("Retry-After"),
					a.Header.Get("Www-Authenticate"), a.Header.Get("Content-Range"), a.Header.Get("Location"), a.Header.Get("Bindu-Edge-Error"),
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("want - got +\n%s", diff)
				}
			})
		}
	}
}
