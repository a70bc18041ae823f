package e2e

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

// 500 requests are in flight at once on one tunnel: the origin answers none
// before it has them all. Each answer is that of its own request.
func TestManyStreams(t *testing.T) {
	t.Parallel()
	const n = 500
	arrived, all := make(chan struct{}, n), make(chan struct{})
	w := startWorld(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		arrived <- struct{}{}
		select {
		case <-all:
		case <-r.Context().Done():
			return
		}
		_, _ = fmt.Fprintf(w, "%s %s", r.URL.Path, body)
	}))
	text := func(i int) string { return strings.Repeat(fmt.Sprintf("%d,", i), 1000) }
	var answers [n]<-chan asked
	for i := range n {
		answers[i] = ask(request(t.Context(), t, "POST", w.url(fmt.Sprintf("/%d", i)), strings.NewReader(text(i))))
	}
	for i := range n {
		receive(t, fmt.Sprintf("request %d of %d reaches the origin", i+1, n), arrived)
	}
	close(all)
	for i, c := range answers {
		a := receive(t, "an answer", c)
		if want := fmt.Sprintf("/%d %s", i, text(i)); a.err != nil || a.StatusCode != 200 || a.body != want {
			t.Fatalf("request %d: %v %+v", i, a.err, a.Response)
		}
	}
}
