package relay

import (
	"errors"
	"io"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/getbindu/bindu-edge/internal/fault"
	"github.com/getbindu/bindu-edge/internal/tunnel"
	"github.com/getbindu/bindu-edge/internal/wire"
)

// zeros is a body that always has more.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

// What callers at the door leave unread is bounded for each tunnel, though all share
// the connection to its pod, and shows.
func TestUnreadAtTheDoor(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newPipeListener()
		_, stop := serve(t, l, secret(t, ours), func(r *http.Request) (*http.Response, error) {
			_ = r.Body.Close()
			return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, ContentLength: -1, Body: io.NopCloser(zeros{})}, nil
		}, nil)
		defer stop()
		c := NewClient(Options{Pod: door, Dialer: l, Identity: secret(t, ours), MaxBuffered: 2 * wire.StreamWindow})
		defer c.Close()
		var bodies []io.ReadCloser
		for _, id := range []string{"full", "full", "full", "beside"} {
			res, err := c.To(holder, tunnel.ID(id)).RoundTrip(get(t.Context(), t))
			if err != nil {
				t.Fatal(err)
			}
			bodies = append(bodies, res.Body)
			<-time.After(time.Millisecond)
		}
		told := func(what string, windows int64) {
			t.Helper()
			if got := c.Unread(); got != windows*wire.StreamWindow {
				t.Errorf("%s %d bytes wait, want %d windows", what, got, windows)
			}
			peers := c.Peers()
			if len(peers) != 1 || peers[0].Unread != c.Unread() {
				t.Errorf("%s Peers tells %+v", what, peers)
			}
		}
		told("at first", 4)
		<-time.After(3 * time.Second)
		synctest.Wait()
		told("when one was cut", 3)
		for i, body := range bodies {
			if _, err := body.Read(make([]byte, 1)); errors.Is(err, fault.ErrUnread) != (i == 0) {
				t.Errorf("answer %d: %v", i, err)
			}
			_ = body.Close()
		}
		told("at the end", 0)
	})
}
