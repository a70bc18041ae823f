package ingress

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/getbindu/bindu-edge/internal/fault"
	"github.com/getbindu/bindu-edge/internal/wire"
)

// pipedBody is an answer's body that its test writes.
func pipedBody(length int64) (*http.Response, *io.PipeWriter) {
	r, w := io.Pipe()
	return &http.Response{StatusCode: http.StatusOK, ProtoMajor: 2, Header: http.Header{"X-Agent": {"a", "b"}}, Body: r, ContentLength: length}, w
}

// What the agent sends reaches the caller although nothing follows it, with a
// length and without one.
func TestAnswersDoNotWaitForWhatFollows(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name  string
		input int64
	}{{"without a length", -1}, {"with a length", 100}, {"complete, but for the end", 5}} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			answer, body := pipedBody(row.input)
			if row.input >= 0 {
				answer.Header.Set("Content-Length", strconv.FormatInt(row.input, 10))
			}
			server := httptest.NewServer(serving(func(*http.Request) (*http.Response, error) { return answer, nil }, ""))
			defer server.Close()
			defer func() { _ = body.CloseWithError(errors.New("over")) }()
			res, err := http.Get(server.URL + "/local_tunnel/s/") // the header comes before the body
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = res.Body.Close() }()
			if diff := cmp.Diff([]string{"a", "b"}, res.Header["X-Agent"]); diff != "" {
				t.Errorf("header (-want +got):\n%s", diff)
			}
			if _, err := io.WriteString(body, "hello"); err != nil {
				t.Fatal(err)
			}
			got := make([]byte, 5)
			if _, err := io.ReadFull(res.Body, got); err != nil || string(got) != "hello" {
				t.Errorf("read %q, %v", got, err)
			}
		})
	}
}

// An answer that was ended for what it is has a word of its own: because it was
// left unread, or at the size where the pod that holds the link cuts it.
func TestEndedAnswersAreLogged(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name  string
		limit string
		err   error
		want  string // "" = none of these words
	}{
		{"unread", "", fault.ErrUnread, "unread"},
		{"cut at the limit", "5", errors.New("reset"), "response_too_large"},
		{"broken off", "", errors.New("reset"), "answer_broken"},
		{"broken off before the limit", "6", errors.New("reset"), ""},
		{"a limit that is none", "many", errors.New("reset"), ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			endedAnswer(t, row.limit, row.err, row.want)
		})
	}
}

func endedAnswer(t *testing.T, limit string, end error, want string) {
	t.Helper()
	answer, body := pipedBody(-1)
	if limit != "" {
		answer.Header.Set(wire.HeaderResponseLimit, limit)
	}
	var log bytes.Buffer
	h := serving(func(*http.Request) (*http.Response, error) { return answer, nil }, "")
	h.log = slog.New(slog.NewJSONHandler(&log, nil))
	go func() {
		_, _ = io.WriteString(body, "begun")
		_ = body.CloseWithError(end)
	}()
	r := httptest.NewRequest(http.MethodGet, "/local_tunnel/s/", nil)
	func() {
		defer func() {
			if got, _ := recover().(error); !errors.Is(got, http.ErrAbortHandler) {
				t.Errorf("the answer was not cut: %v", got)
			}
		}()
		// As the server has it: else ReverseProxy does not cut the answer.
		ctx := context.WithValue(r.Context(), http.ServerContextKey, &http.Server{ReadHeaderTimeout: time.Second})
		w := httptest.NewRecorder()
		defer func() {
			if told := w.Header().Get(wire.HeaderResponseLimit); told != "" {
				t.Errorf("the caller is told %s", told)
			}
		}()
		h.ServeHTTP(w, r.WithContext(ctx))
	}()
	if want == "" {
		if strings.Contains(log.String(), "response_too_large") {
			t.Errorf("logged %s", log.String())
		}
		return
	}
	if !strings.Contains(log.String(), `"outcome":"`+want+`"`) {
		t.Errorf("logged %s", log.String())
	}
}
