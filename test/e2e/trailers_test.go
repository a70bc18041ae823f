package e2e

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// trailersOrigin answers with the request's trailers as its body, and with
// trailers of its own.
func trailersOrigin(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	w.Header().Set("Trailer", "X-Declared, X-Second")
	w.Header().Set("X-Origin", "yes")
	w.WriteHeader(200)
	for name, values := range r.Trailer {
		_, _ = fmt.Fprintf(w, "%s=%s\n", name, strings.Join(values, "|"))
	}
	w.Header().Set("X-Declared", "one")
	w.Header().Set("X-Second", "two")
	w.Header().Set(http.TrailerPrefix+"X-Undeclared", "three")
	w.Header().Set(http.TrailerPrefix+"Bindu-Edge-Error", "forged")
}

func TestTrailers(t *testing.T) {
	t.Parallel()
	plane := startPlane(t)
	e := startEdge(t, plane)
	origin := startOrigin(t, http.HandlerFunc(trailersOrigin))
	for _, target := range []string{"http://", "h2c://"} {
		cred := plane.create(t, "")
		startAgent(t, e, cred, target+origin)
		for _, c := range []struct {
			name   string
			client *http.Client
		}{{"HTTP1", client}, {"HTTP2", callerH2(t)}} {
			t.Run(c.name+" to "+target, func(t *testing.T) {
				req := request(t.Context(), t, http.MethodPost, e.path(cred, "/"), io.MultiReader(strings.NewReader("body")))
				req.Trailer = http.Header{"X-Sum": nil, "X-Other": nil}
				req.Body = &atEnd{ReadCloser: req.Body, end: func() {
					req.Trailer.Set("X-Sum", "abc")
					req.Trailer["X-Other"] = []string{"1", "2"}
				}}
				res, err := c.client.Do(req)
				if err != nil {
					t.Fatal(err)
				}
				defer func() { _ = res.Body.Close() }()
				body, err := io.ReadAll(res.Body)
				if err != nil {
					t.Fatal(err)
				}
				if text := string(body); len(strings.Split(text, "\n")) != 3 || !strings.Contains(text, "X-Sum=abc\n") || !strings.Contains(text, "X-Other=1|2\n") {
					t.Errorf("the origin saw %q", body)
				}
				want := http.Header{"X-Declared": {"one"}, "X-Second": {"two"}, "X-Undeclared": {"three"}}
				if diff := cmp.Diff(want, res.Trailer); diff != "" {
					t.Errorf("trailers: want - got +\n%s", diff)
				}
			})
		}
	}
}

// atEnd calls end just before the body ends.
type atEnd struct {
	io.ReadCloser
	end func()
}

func (b *atEnd) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err == io.EOF && b.end != nil {
		b.end()
		b.end = nil
	}
	return n, err
}
