package ingress

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/getbindu/bindu-edge/internal/fault"
	"github.com/getbindu/bindu-edge/internal/given"
)

// closing tells when a body is closed.
type closing struct {
	io.Reader
	closed atomic.Bool
}

func (c *closing) Close() error { c.closed.Store(true); return nil }

// caller serves h to one caller over HTTP/1.1, by a pipe that holds nothing.
func caller(t *testing.T, h http.Handler) net.Conn {
	t.Helper()
	near, far := net.Pipe()
	server := &http.Server{Handler: h, ReadHeaderTimeout: time.Minute}
	listener := given.NewListener(far.LocalAddr(), far)
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(listener) })
	t.Cleanup(func() {
		_ = near.Close()
		_ = server.Close()
		_ = listener.Close()
		serving.Wait()
	})
	return near
}

// An answer with a large header is there until the caller has that, and so can be
// cut: when the caller takes nothing for too long, or when its memory is needed.
func TestLargeHeaderThatNobodyTakes(t *testing.T) {
	const stall = 8 * time.Second
	for _, row := range []struct {
		name string
		body string
		cut  time.Duration // 0: nobody needs the memory
		want time.Duration
	}{
		{"the caller stalls, no body", "", 0, stall},
		{"the caller stalls, a body", "body", 0, stall},
		{"the memory is needed, no body", "", time.Second, time.Second},
		{"the memory is needed, a body", "body", time.Second, time.Second},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				body := &closing{Reader: strings.NewReader(row.body)}
				cutting := make(chan func(error), 1)
				o := observe(func(r *http.Request) (*http.Response, error) {
					cutting <- fault.Cutting(r.Context())
					res := answerOf(http.Header{"X-Large": {strings.Repeat("x", 64<<10)}}, row.body)
					res.Body = body
					return res, nil
				}, func(opts *Options) { opts.Timeouts.CallerStall = stall })
				conn := caller(t, o)
				_, _ = io.WriteString(conn, "GET /local_tunnel/s/ HTTP/1.1\r\nHost: public.example\r\n\r\n")
				cut := <-cutting
				synctest.Wait()
				if body.closed.Load() {
					t.Fatal("the answer is closed before its header is written")
				}
				began := time.Now()
				if row.cut > 0 {
					<-time.After(row.cut)
					cut(fault.ErrUnread)
				}
				for !body.closed.Load() && time.Since(began) < time.Minute {
					<-time.After(time.Millisecond)
				}
				if took := time.Since(began); took < row.want || took > row.want+stall/4+time.Millisecond {
					t.Errorf("it was closed after %s, want %s", took, row.want)
				}
				synctest.Wait()
				if got := o.counted(t); got["2xx aborted"]+got["2xx unread"] != 1 {
					t.Errorf("requests count as %v", got)
				}
			})
		})
	}
}

// What is cut before its header is written is cut all the same.
func TestLargeHeaderCutBeforeItIsWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		body := &closing{Reader: strings.NewReader("")}
		o := observe(func(r *http.Request) (*http.Response, error) {
			fault.Cutting(r.Context())(fault.ErrUnread)
			res := answerOf(http.Header{"X-Large": {strings.Repeat("x", 64<<10)}}, "")
			res.Body = body
			return res, nil
		}, nil)
		conn := caller(t, o)
		_, _ = io.WriteString(conn, "GET /local_tunnel/s/ HTTP/1.1\r\nHost: public.example\r\n\r\n")
		synctest.Wait()
		if !body.closed.Load() {
			t.Error("it is written to a caller that takes nothing")
		}
	})
}

// To a caller who reads, an answer is the same with a large header.
func TestLargeHeader(t *testing.T) {
	for _, row := range []struct {
		name, method, body string
		status, size       int
		want               string // Content-Length
	}{
		{"no body", "GET", "", 200, 64 << 10, "0"},
		{"no body, a small header", "GET", "", 200, 10, "0"},
		{"a body", "GET", "body", 200, 64 << 10, "4"},
		{"HEAD", "HEAD", "", 200, 64 << 10, ""},
		{"no content", "GET", "", 204, 64 << 10, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := observe(func(*http.Request) (*http.Response, error) {
					res := answerOf(http.Header{"X-Large": {strings.Repeat("x", row.size)}}, row.body)
					if res.StatusCode = row.status; row.body != "" {
						res.Header.Set("Content-Length", "4")
					}
					return res, nil
				}, nil)
				conn := caller(t, o)
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				req, err := http.NewRequestWithContext(ctx, row.method, "http://public.example/local_tunnel/s/", nil)
				if err != nil {
					t.Fatal(err)
				}
				go func() { _ = req.Write(conn) }()
				res, err := http.ReadResponse(bufio.NewReader(conn), req)
				if err != nil {
					t.Fatal(err)
				}
				body, err := io.ReadAll(res.Body)
				if err != nil && !errors.Is(err, io.EOF) || string(body) != row.body || len(res.Header.Get("X-Large")) != row.size {
					t.Errorf("%d bytes of header, body %q: %v", len(res.Header.Get("X-Large")), body, err)
				}
				if got := res.Header.Get("Content-Length"); got != row.want || len(res.TransferEncoding) > 0 {
					t.Errorf("Content-Length %q, Transfer-Encoding %q; want length %q", got, res.TransferEncoding, row.want)
				}
			})
		})
	}
}
