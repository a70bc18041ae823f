package load

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestReadCalls(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, input string
		want        Called
		right       bool
	}{
		{"fine", wrkHead + "counted 10 20 3000 0 0 0 0 0\nquantiles 7 90\n", Called{Closed{10, 20, 3 * time.Millisecond}, 7 * time.Microsecond, 90 * time.Microsecond}, true},
		{"wrong answers", wrkHead + "counted 10 20 3000 0 0 0 1 0\nquantiles 7 90\n", Called{}, false},
		{"no answers", wrkHead + "counted 0 0 3000 0 0 0 0 0\nquantiles 0 0\n", Called{}, false},
		{"cut short", wrkHead + "counted 10 20 3000 0 0 0 0 0\nquantiles 7", Called{}, false},
	} {
		got, err := readCalls(tt.input)
		if diff := cmp.Diff(tt.want, got); diff != "" || (err == nil) != tt.right {
			t.Errorf("%s: %v (-want +got):\n%s", tt.name, err, diff)
		}
	}
}

// Each answer is held against the status that it should have, and callers come
// from as many addresses as they are said to.
func TestCall(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	from := map[string]bool{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		from[r.Header.Get("X-Forwarded-For")] = true
		mu.Unlock()
		if text, err := io.ReadAll(r.Body); err != nil || string(text) != "body" || r.Method != http.MethodPut {
			t.Errorf("%s with %q, %v", r.Method, text, err)
		}
		w.WriteHeader(http.StatusTooManyRequests)
	}))
	t.Cleanup(server.Close)
	calls := Calls{Method: http.MethodPut, URL: server.URL, Body: "body", Conns: 2, For: time.Second}
	for status, right := range map[int]bool{http.StatusTooManyRequests: true, http.StatusServiceUnavailable: false, 0: false} {
		t.Run(strconv.Itoa(status), func(t *testing.T) {
			t.Parallel()
			calls := calls
			calls.Status, calls.From = status, 300
			got, err := Call(t.Context(), t.TempDir(), calls)
			if (err == nil) != right || right && got.Requests < 300 {
				t.Errorf("%+v, %v", got, err)
			}
		})
	}
	t.Cleanup(func() {
		if len(from) != 300 || !from["10.0.0.0"] || !from["10.0.1.43"] {
			t.Errorf("calls from %d addresses", len(from))
		}
	})
}
