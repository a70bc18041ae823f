package link_test

import (
	"fmt"
	"io"
	"net/http"
	"testing"
	"testing/synctest"

	"github.com/getbindu/bindu-edge/internal/link"
)

// What an H2 link says that it carries: a stream until its answer is read or
// given up, and the bytes that nobody has come for.
func TestLoad(t *testing.T) {
	t.Parallel()
	l, _ := pairWith(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "1000")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}), link.Options{MaxBuffered: 1 << 20})
	if streams, unread := l.Load(); streams != 0 || unread != 0 {
		t.Errorf("at rest: %d streams, %d bytes", streams, unread)
	}
	var answers []*http.Response
	for range 2 {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://t.example/", nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := l.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		answers = append(answers, res)
	}
	if streams, unread := l.Load(); streams != 2 || unread != 2000 {
		t.Errorf("with two answers: %d streams, %d bytes", streams, unread)
	}
	for _, res := range answers {
		_ = res.Body.Close()
	}
	if streams, unread := l.Load(); streams != 0 || unread != 0 {
		t.Errorf("after their end: %d streams, %d bytes", streams, unread)
	}
}

// Of a JSON link it is the requests that wait for their response.
func TestLoadOfJSON(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, a := meetJSON(t, link.JSONOptions{})
		want := func(what string, want int) {
			t.Helper()
			if streams, unread := l.Load(); streams != want || unread != 0 {
				t.Errorf("%s: %d streams, %d bytes, want %d and none", what, streams, unread, want)
			}
		}
		want("at rest", 0)
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://t.example/", nil)
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() {
			res, err := l.RoundTrip(req)
			if err == nil {
				_, err = io.Copy(io.Discard, res.Body)
				_ = res.Body.Close()
			}
			done <- err
		}()
		m, ok := a.next("request")
		if !ok {
			t.Fatal("no request came")
		}
		want("with a request at the agent", 1)
		a.send(fmt.Sprintf(`{"type":"response","request_id":%q,"status":200}`, m.RequestID))
		if err := <-done; err != nil {
			t.Error(err)
		}
		want("after its answer", 0)
	})
}
