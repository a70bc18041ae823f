package e2e

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

// echo answers with what it got.
var echo = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	w.Header().Set("X-Method", r.Method)
	w.Header().Set("X-Uri", r.RequestURI)
	_, _ = fmt.Fprintf(w, "%d:%s", len(body), body)
})

func TestRequestAndAnswer(t *testing.T) {
	t.Parallel()
	w := startWorld(t, echo)
	for _, method := range []string{"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"} {
		body := ""
		if method != "GET" {
			body = "hello " + method
		}
		a := do(t, request(t.Context(), t, method, w.url("/a%2Fb?x=1&&y=%zz"), strings.NewReader(body)))
		if a.StatusCode != 200 || a.Header.Get("X-Method") != method || a.Header.Get("X-Uri") != "/a%2Fb?x=1&&y=%zz" {
			t.Errorf("%s: %d %q %q", method, a.StatusCode, a.Header.Get("X-Method"), a.Header.Get("X-Uri"))
		}
		if want := fmt.Sprintf("%d:%s", len(body), body); a.body != want {
			t.Errorf("%s: body %q, want %q", method, a.body, want)
		}
	}
}
