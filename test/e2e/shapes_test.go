package e2e

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
)

// shapesOrigin answers with as many bytes as it is asked for, and takes what it
// is sent.
func shapesOrigin(w http.ResponseWriter, r *http.Request) {
	if n, err := strconv.Atoi(strings.TrimPrefix(r.URL.Path, "/bytes/")); err == nil {
		_, _ = io.CopyN(w, endless{}, int64(n))
		return
	}
	_, _ = io.Copy(io.Discard, r.Body) // until it breaks off
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

// Callers who speak HTTP/1.1 as no client does: others are served meanwhile, and
// nothing of it stays. What each shape is answered with is in other tests.
// It is measured, so it has the machine to itself.
func TestShapesOfHTTP1(t *testing.T) {
	s := startSiege(t, 1500*time.Millisecond, http.HandlerFunc(shapesOrigin))
	write := func(parts ...string) func(context.Context, int) {
		return func(ctx context.Context, _ int) {
			conn, err := s.dial(ctx, "http/1.1")
			if err != nil {
				return
			}
			defer func() { _ = conn.Close() }()
			for _, part := range parts {
				if _, err := io.WriteString(conn, part); err != nil {
					return
				}
			}
			_, _ = io.Copy(io.Discard, conn) // until the edge has had enough, or the deadline
		}
	}
	// drip writes a byte now and then after begin.
	drip := func(begin, text string) func(context.Context, int) {
		return func(ctx context.Context, _ int) {
			conn, err := s.dial(ctx, "http/1.1")
			if err != nil {
				return
			}
			defer func() { _ = conn.Close() }()
			every := time.NewTicker(50 * time.Millisecond)
			defer every.Stop()
			_, err = io.WriteString(conn, begin)
			for i := 0; err == nil && ctx.Err() == nil; i++ {
				<-every.C
				_, err = io.WriteString(conn, text[i%len(text):i%len(text)+1]) // fails at the deadline
			}
		}
	}
	// sip reads a byte now and then of what text is answered with.
	sip := func(text string) func(context.Context, int) {
		return func(ctx context.Context, _ int) {
			conn, err := s.dial(ctx, "http/1.1")
			if err != nil {
				return
			}
			defer func() { _ = conn.Close() }()
			every := time.NewTicker(50 * time.Millisecond)
			defer every.Stop()
			_, err = io.WriteString(conn, text)
			for one := make([]byte, 1); err == nil && ctx.Err() == nil; <-every.C {
				_, err = conn.Read(one)
			}
		}
	}
	long := strings.Repeat("x", 1<<20)
	chunked := s.head("POST", "/", "Transfer-Encoding: chunked") + "\r\n"
	slow := []func(context.Context, int){
		drip(s.head("GET", "/"), "X-Slow: x\r\n"),
		drip(s.head("POST", "/", "Content-Length: 1000000")+"\r\n", "x"),
		drip(chunked, "1\r\nx\r\n"),
	}
	s.shape("slow headers, bodies and chunks", 300, func(ctx context.Context, i int) { slow[i%len(slow)](ctx, i) })
	s.shape("slow readers", 100, sip(s.head("GET", "/bytes/4000000")+"\r\n"))
	s.shape("pipelined and never read", 20, sip(strings.Repeat(s.head("GET", "/bytes/1000")+"\r\n", 500)))
	s.shape("connections without a word", 50, func(ctx context.Context, _ int) {
		var all []net.Conn
		for range 40 {
			conn, err := s.dialTCP(ctx)
			if err != nil {
				break
			}
			all = append(all, conn)
		}
		for _, conn := range all {
			_ = conn.Close()
		}
	})
	s.shape("no TLS", 100, func(ctx context.Context, _ int) {
		conn, err := s.dialTCP(ctx)
		if err != nil {
			return
		}
		defer func() { _ = conn.Close() }()
		_, _ = io.WriteString(conn, long)
		_, _ = io.Copy(io.Discard, conn)
	})
	s.shape("a URL of 1 MB", 20, write(s.head("GET", "/"+long)+"\r\n"))
	s.shape("a field of 1 MB", 20, write(s.head("GET", "/", "X-Long: "+long)+"\r\n"))
	s.shape("a field name of 1 MB", 20, write(s.head("GET", "/", long+": x")+"\r\n"))
	s.shape("100,000 fields", 20, write(s.head("GET", "/", strings.Repeat("a: b\r\n", 100_000)+"c: d")+"\r\n"))
	s.shape("a body without an end", 20, write(append([]string{chunked}, slicesOf(32, "100000\r\n"+long+"\r\n")...)...))
	s.shape("a body longer than announced", 20, write(s.head("POST", "/", "Content-Length: 10")+"\r\n", long))
	s.shape("a body larger than allowed", 20, write(s.head("POST", "/", fmt.Sprint("Content-Length: ", 1<<40))+"\r\n", long, long, long))
	s.shape("a chunk extension of 1 MB", 20, write(chunked, "1;x="+long+"\r\nx\r\n0\r\n\r\n"))
	s.shape("many chunk extensions", 20, write(chunked, strings.Repeat("1;"+long[:2000]+"\r\nx\r\n", 500)+"0\r\n\r\n"))
	s.shape("chunks of one byte", 20, write(chunked, strings.Repeat("1\r\nx\r\n", 100_000)+"0\r\n\r\n"))
	s.shape("a chunk size of 1 MB", 20, write(chunked, strings.Repeat("0", 1<<20)+"1\r\nx\r\n0\r\n\r\n"))
	s.shape("a trailer of 1 MB", 20, write(chunked, "1\r\nx\r\n0\r\nX-Long: "+long+"\r\n\r\n"))
	s.shape("100,000 trailers", 20, write(chunked, "1\r\nx\r\n0\r\n"+strings.Repeat("a: b\r\n", 100_000)+"\r\n"))
	s.wantAsBefore()
}

func slicesOf(n int, text string) []string {
	all := make([]string, n)
	for i := range all {
		all[i] = text
	}
	return all
}
