package ingress

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"

	"github.com/getbindu/bindu-edge/internal/fault"
	"github.com/getbindu/bindu-edge/internal/tunnel"
)

// A refusal comes while the rest of the request is still being sent on, by a
// goroutine that nobody waits for (see http.RoundTripper). The caller of HTTP/2
// gets it, and the two don't read from one body at once, which -race would see.
func TestRefusedUploadIsStillReadElsewhere(t *testing.T) {
	t.Parallel()
	sent := make(chan error, 1)
	h := serving(func(req *http.Request) (*http.Response, error) {
		reading := make(chan struct{})
		go func() {
			buffer := make([]byte, 1)
			_, _ = req.Body.Read(buffer)
			close(reading)
			for {
				if _, err := req.Body.Read(buffer); err != nil {
					sent <- err
					return
				}
			}
		}()
		<-reading
		return nil, fault.New(fault.RequestTooLarge, "")
	}, "")
	url, transport := http2Pair(t, h)
	upload, write := io.Pipe()
	go func() {
		for {
			if _, err := io.WriteString(write, "some more "); err != nil {
				return
			}
		}
	}()
	defer func() { _ = write.CloseWithError(errors.New("over")) }()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url+"/local_tunnel/s/", upload)
	if err != nil {
		t.Fatal(err)
	}
	res, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	_ = write.CloseWithError(errors.New("over"))
	if res.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("got %d", res.StatusCode)
	}
	if err := <-sent; err == nil {
		t.Error("the rest was sent on")
	}
}

// gRPC tells an error by a header that ends the stream ("trailers only"). It must
// end it too when it comes before the end of the upload.
func TestHeaderOnlyAnswerBeforeTheEndOfTheUpload(t *testing.T) {
	t.Parallel()
	url, transport := http2Pair(t, serving(func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: http.StatusOK, Header: http.Header{"Grpc-Status": {"12"}}, Body: http.NoBody}, nil
	}, ""))
	upload, write := io.Pipe()
	defer func() { _ = write.Close() }()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url+"/local_tunnel/s/", upload)
	if err != nil {
		t.Fatal(err)
	}
	res, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	// Of a header that was sent before the end of the stream the server does not
	// know that nothing follows, and so gives no length.
	if res.Header.Get("Grpc-Status") != "12" || res.ContentLength != 0 {
		t.Errorf("header %v, length %d: want one that ends the stream", res.Header, res.ContentLength)
	}
}

// An agent that answers before it has the whole body leaves a connection that is
// good for the next request, or none.
func TestAnswerBeforeTheBody(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name string
		read int // of the body's ten bytes, before the answer
		kept bool
	}{{"none is read", 0, true}, {"some is read", 3, true}, {"all that has come is read", 5, true}, {"more is waited for", 6, false}} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(serving(func(req *http.Request) (*http.Response, error) {
				if req.Method == http.MethodGet {
					return answerOf(http.Header{}, "next"), nil
				}
				read := make(chan struct{})
				go func() {
					defer close(read)
					_, _ = io.ReadFull(req.Body, make([]byte, row.read))
				}()
				for !req.Body.(*body).waiting() && row.read > 5 {
					runtime.Gosched()
				}
				if row.read <= 5 {
					<-read
				}
				_ = req.Body.Close()
				return answerOf(http.Header{"Content-Length": {"5"}}, "early"), nil
			}, ""))
			defer server.Close()
			conn, err := net.Dial("tcp", server.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = conn.Close() }()
			answers := bufio.NewReader(conn)
			answer := func() string {
				res, err := http.ReadResponse(answers, nil)
				if err != nil {
					return ""
				}
				text, _ := io.ReadAll(res.Body)
				return fmt.Sprint(res.StatusCode, " ", string(text))
			}
			_, _ = io.WriteString(conn, "POST /local_tunnel/s/ HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n01234")
			if got := answer(); got != "200 early" {
				t.Fatalf("got %q", got)
			}
			_, _ = io.WriteString(conn, "56789GET /local_tunnel/s/ HTTP/1.1\r\nHost: x\r\n\r\n")
			want := ""
			if row.kept {
				want = "200 next"
			}
			if got := answer(); got != want {
				t.Errorf("the next answer is %q, want %q", got, want)
			}
		})
	}
}

// http2Pair serves h, and returns its URL and a caller of HTTP/2.
func http2Pair(t *testing.T, h http.Handler) (url string, caller http.RoundTripper) {
	t.Helper()
	server := httptest.NewUnstartedServer(h)
	server.Config.Protocols = new(http.Protocols)
	server.Config.Protocols.SetUnencryptedHTTP2(true)
	server.Start()
	t.Cleanup(server.Close)
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{Protocols: protocols}
	t.Cleanup(transport.CloseIdleConnections)
	return server.URL, transport
}

// guarded is a router whose tunnels refuse by an error what they are asked about
// beforehand.
type guarded struct {
	agent
	refusal error
}

func (g guarded) Refusal(context.Context, tunnel.ID, *http.Request) error { return g.refusal }

// A refusal does not wait for the request's body. If that is short the connection
// carries the next request; it never takes a body for one.
func TestRefusalBeforeTheBody(t *testing.T) {
	t.Parallel()
	const next = "GET /local_tunnel/s/next HTTP/1.1\r\nHost: x\r\n\r\n"
	for _, row := range []struct {
		name  string
		field string
		early string // of the body, before the answer
		late  string // after it
		kept  bool
		told  bool // that it is not
	}{
		{"short body", "Content-Length: 10", "0123456789", "", true, false},
		{"short body, which comes after the answer", "Content-Length: 10", "01234", "56789", true, false},
		{"short body that looks like a request", fmt.Sprint("Content-Length: ", len(next)), "", next, true, false},
		{"as long as short bodies are", "Content-Length: 65536", strings.Repeat("x", 65536), "", true, false},
		{"short body that does not come", "Content-Length: 10", "01234", "", false, false},
		{"long body", "Content-Length: 65537", strings.Repeat("x", 65537), "", false, true},
		{"body of unknown length", "Transfer-Encoding: chunked", "1\r\nx\r\n0\r\n\r\n", "", false, true},
		{"body that waits to be asked for", "Content-Length: 10\r\nExpect: 100-continue", "", "", false, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			h := serving(func(*http.Request) (*http.Response, error) {
				t.Error("the agent was asked")
				return answerOf(http.Header{}, "answer"), nil
			}, "")
			h.opts.Router = guarded{h.opts.Router.(agent), fault.New(fault.RateLimited, "")}
			server := httptest.NewServer(h)
			defer server.Close()
			conn, err := net.Dial("tcp", server.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = conn.Close() }()
			_, _ = io.WriteString(conn, "POST /local_tunnel/s/ HTTP/1.1\r\nHost: x\r\n"+row.field+"\r\n\r\n"+row.early)
			answers := bufio.NewReader(conn)
			res, err := http.ReadResponse(answers, nil)
			if err != nil {
				t.Fatal(err)
			}
			_, _ = io.Copy(io.Discard, res.Body)
			if res.StatusCode != http.StatusTooManyRequests {
				t.Errorf("got %d", res.StatusCode)
			}
			if res.Close != row.told {
				t.Errorf("Connection: close is %v, want %v", res.Close, row.told)
			}
			_, _ = io.WriteString(conn, row.late)
			if row.kept {
				_, _ = io.WriteString(conn, next)
			}
			res, err = http.ReadResponse(answers, nil)
			if got := err == nil; got != row.kept {
				t.Fatalf("a further answer: %v, want %v: %v", got, row.kept, err)
			}
			if !row.kept {
				return
			}
			_, _ = io.Copy(io.Discard, res.Body)
			if res.StatusCode != http.StatusTooManyRequests {
				t.Errorf("the next request: %d", res.StatusCode)
			}
		})
	}
}
