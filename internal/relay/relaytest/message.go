package relaytest

import (
	"io"
	"maps"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/getbindu/bindu-edge/internal/wire"
)

func targets(t *testing.T, m Mesh) {
	way := hop(t, m, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.Method+" "+r.RequestURI)
	})
	for _, row := range []struct{ name, method, target string }{
		{"root", http.MethodGet, "/"},
		{"an escaped slash", http.MethodGet, "/a%2Fb/%2f"},
		{"two slashes first", http.MethodGet, "//x//y"},
		{"dots", http.MethodGet, "/a/../b/./c"},
		{"an empty query", http.MethodGet, "/a?"},
		{"a query with everything", http.MethodGet, "/?a=%zz&b=;c?d=/&&=%"},
		{"two slashes and an empty query", http.MethodGet, "//?"},
		{"no character escaped that needs none", http.MethodGet, "/~!$&'()*+,;=:@-._%7E"},
		{"the server as a whole", http.MethodOptions, "*"},
		{"a path for OPTIONS", http.MethodOptions, "/*"},
		{"an odd method", "BREW", "/pot"},
	} {
		t.Run(row.name, func(t *testing.T) {
			want(t, way, request(t, row.method, row.target, nil), http.StatusOK, row.method+" "+row.target)
		})
	}
}

func headers(t *testing.T, m Mesh) {
	saw := make(chan *http.Request, 1)
	answer := http.Header{
		"Set-Cookie": {"a=1", "b=2"}, "X-Bytes": {"caf\xe9"}, "Content-Type": {"text/x"}, "X-Empty": {""},
		"Date": {"Sat, 01 Jan 2000 00:00:00 GMT"}, "Content-Length": {"2"}, "Via": {"1.1 agent"},
	}
	way := hop(t, m, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/untyped" {
			w.Header()["Content-Type"] = nil
			_, _ = io.WriteString(w, "<html>")
			return
		}
		saw <- r
		maps.Copy(w.Header(), answer)
		_, _ = io.WriteString(w, "ok")
	})
	req := request(t, http.MethodPost, "/", strings.NewReader("body"))
	req.Host = "Public.Example:8443"
	req.URL = wire.LinkURL(req.Host, "/", "", false)
	sent := http.Header{
		"X-Two": {"one", "two"}, "X-Bytes": {"caf\xe9"}, "X-Empty": {""}, "Cookie": {"a=1; b=2"},
		"Connection": {"close"}, "User-Agent": {""}, // what the door sets when a caller names none
	}
	req.Header, req.Close = sent.Clone(), true
	res := want(t, way, req, http.StatusOK, "ok")
	if diff := cmp.Diff(answer, res.Header); diff != "" {
		t.Errorf("the answer's header, -want +got:\n%s", diff)
	}
	got := <-saw
	delete(sent, "Connection")
	delete(sent, "User-Agent")
	sent["Content-Length"] = []string{"4"}
	if diff := cmp.Diff(sent, got.Header); diff != "" {
		t.Errorf("the request's header, -want +got:\n%s", diff)
	}
	if got.Host != req.Host {
		t.Errorf("Host %q, want %q", got.Host, req.Host)
	}
	res = want(t, way, request(t, http.MethodGet, "/untyped", nil), http.StatusOK, "<html>")
	if guess := res.Header["Content-Type"]; guess != nil {
		t.Errorf("somebody guessed %q", guess)
	}
	if _, told := req.Header["Connection"]; !told {
		t.Error("the hop has changed the caller's header")
	}
}

func withoutBody(t *testing.T, m Mesh) {
	way := hop(t, m, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/length":
			w.Header().Set("Content-Length", "5")
		case "/204":
			w.WriteHeader(http.StatusNoContent)
		case "/304":
			w.Header().Set("Content-Length", "5")
			w.Header().Set("Etag", `"x"`)
			w.WriteHeader(http.StatusNotModified)
		case "/404":
			w.WriteHeader(http.StatusNotFound)
		}
	})
	for _, row := range []struct {
		name, method, path string
		status             int
		length             string
	}{
		{"HEAD with a length", http.MethodHead, "/length", 200, "5"},
		{"HEAD without", http.MethodHead, "/", 200, ""},
		{"HEAD of what is not there", http.MethodHead, "/404", 404, ""},
		{"204", http.MethodGet, "/204", 204, ""},
		{"304 with the length of what it stands for", http.MethodGet, "/304", 304, "5"},
		{"HEAD, 304", http.MethodHead, "/304", 304, "5"},
		{"GET of nothing", http.MethodGet, "/", 200, "0"},
	} {
		t.Run(row.name, func(t *testing.T) {
			res := want(t, way, request(t, row.method, row.path, nil), row.status, "")
			if got := res.Header.Get("Content-Length"); got != row.length {
				t.Errorf("Content-Length %q, want %q", got, row.length)
			}
			if got := res.Header["Content-Type"]; got != nil {
				t.Errorf("Content-Type %q, and the agent told none", got)
			}
		})
	}
}

func requestTrailers(t *testing.T, m Mesh) {
	way := hop(t, m, func(w http.ResponseWriter, r *http.Request) {
		if _, announced := r.Trailer["X-Sum"]; !announced {
			t.Errorf("announced %v", r.Trailer)
		}
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, r.Trailer.Get("X-Sum"))
	})
	for _, size := range []int{0, 1, 1 << 20} {
		req := request(t, http.MethodPost, "/", nil)
		req.Trailer = http.Header{"X-Sum": nil}
		body := strings.NewReader(string(noise()[:size]))
		req.Body, req.ContentLength = io.NopCloser(io.MultiReader(body, whenRead(func() { req.Trailer.Set("X-Sum", "abc") }))), -1
		want(t, way, req, http.StatusOK, "abc")
	}
}

// whenRead is an empty body that tells when it is read.
type whenRead func()

func (f whenRead) Read([]byte) (int, error) {
	f()
	return 0, io.EOF
}

func answerTrailers(t *testing.T, m Mesh) {
	way := hop(t, m, func(w http.ResponseWriter, r *http.Request) {
		announced, unannounced, body := strings.Contains(r.URL.Path, "a"), strings.Contains(r.URL.Path, "u"), strings.Contains(r.URL.Path, "b")
		if announced {
			w.Header().Set("Trailer", "X-A")
		}
		if body {
			_, _ = io.WriteString(w, "body")
		}
		w.(http.Flusher).Flush()
		if announced {
			w.Header().Set("X-A", "1")
		}
		if unannounced {
			w.Header().Add(http.TrailerPrefix+"X-U", "2")
			w.Header().Add(http.TrailerPrefix+"X-U", "3")
		}
	})
	a, u := []string{"1"}, []string{"2", "3"}
	for _, row := range []struct {
		name, path, body string
		want             http.Header
	}{
		{"announced", "/ab", "body", http.Header{"X-A": a}},
		{"unannounced", "/ub", "body", http.Header{"X-U": u}},
		{"both", "/aub", "body", http.Header{"X-A": a, "X-U": u}},
		{"announced, no body", "/a", "", http.Header{"X-A": a}},
		{"unannounced, no body", "/u", "", http.Header{"X-U": u}},
	} {
		t.Run(row.name, func(t *testing.T) {
			res := want(t, way, request(t, http.MethodGet, row.path, nil), http.StatusOK, row.body)
			if diff := cmp.Diff(row.want, res.Trailer); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// early notes the 1xx answers of a request.
type early struct {
	mu  sync.Mutex
	got []string // status and Link
}

func (e *early) watch(req *http.Request) *http.Request {
	return req.WithContext(httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{
		Got1xxResponse: func(status int, h textproto.MIMEHeader) error {
			e.mu.Lock()
			defer e.mu.Unlock()
			e.got = append(e.got, http.StatusText(status)+" "+strings.Join(h["Link"], "|"))
			return nil
		},
	}))
}

func (e *early) check(t *testing.T, want ...string) {
	t.Helper()
	e.mu.Lock()
	defer e.mu.Unlock()
	if diff := cmp.Diff(want, e.got); diff != "" {
		t.Errorf("early answers, -want +got:\n%s", diff)
	}
}

func earlyHints(t *testing.T, m Mesh) {
	way := hop(t, m, func(w http.ResponseWriter, _ *http.Request) {
		w.Header()["Link"] = []string{"</a>", "</b>"}
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Set("Link", "</c>")
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Del("Link")
		_, _ = io.WriteString(w, "ok")
	})
	var hints early
	res := want(t, way, hints.watch(request(t, http.MethodGet, "/", nil)), http.StatusOK, "ok")
	hints.check(t, "Early Hints </a>|</b>", "Early Hints </c>")
	if link := res.Header["Link"]; link != nil {
		t.Errorf("the answer has Link %q of the hints", link)
	}
}

// expecting is a request as the door makes it of one with Expect: 100-continue.
func expecting(t *testing.T, body io.Reader) *http.Request {
	req := request(t, http.MethodPost, "/", body)
	req.Header.Set("Expect", "100-continue")
	req.Header.Set(wire.HeaderExpect, "100-continue")
	return req
}

func expectRefused(t *testing.T, m Mesh) {
	way := hop(t, m, func(w http.ResponseWriter, r *http.Request) {
		if got := r.Header.Get("Expect"); got != "100-continue" {
			t.Errorf("the agent saw Expect: %q", got)
		}
		http.Error(w, "no", http.StatusExpectationFailed)
	})
	var reads atomic.Int64
	var answers early
	body := unknownLength{io.MultiReader(whenRead(func() { reads.Add(1) }), strings.NewReader("body"))}
	want(t, way, answers.watch(expecting(t, body)), http.StatusExpectationFailed, "no\n")
	answers.check(t)
	if reads.Load() > 0 {
		t.Error("the body was read")
	}
}

func expectAccepted(t *testing.T, m Mesh) {
	way := hop(t, m, echo)
	var answers early
	body := string(noise()[:1<<20])
	want(t, way, answers.watch(expecting(t, strings.NewReader(body))), http.StatusOK, body)
	answers.check(t, "Continue ")
}
