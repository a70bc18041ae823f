package e2e

import (
	"context"
	"crypto/tls"
	"io"
	"net/http"
	"testing"

	"golang.org/x/net/http2"
)

// Callers who leave in the middle: what they have asked for ends with them, though
// the origin goes on with it and no clock ends it.
// It is measured, so it has the machine to itself.
func TestShapesThatEnd(t *testing.T) {
	over := make(chan struct{})
	s := startSiege(t, patience, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/wait":
			<-r.Context().Done()
		case "/stuck": // an upgraded connection that nobody reads
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				return
			}
			defer func() { _ = conn.Close() }()
			_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n")
			<-over
		case "/events":
			w.Header().Set("Content-Type", "text/event-stream")
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		default:
			_, _ = io.Copy(io.Discard, r.Body)
		}
	}), "REQUEST_TIMEOUT_SECONDS=3600", "SSE_KEEPALIVE_SECONDS=0")
	defer close(over)
	// say sends a request, waits for the answer's first bytes if one is due, and leaves.
	say := func(answered bool, text string) func(context.Context, int) {
		return func(ctx context.Context, _ int) {
			conn, err := s.dial(ctx, "http/1.1")
			if err != nil {
				return
			}
			defer func() { _ = conn.Close() }()
			if _, err := io.WriteString(conn, text); err != nil {
				t.Error(err)
			}
			if answered {
				_, err = conn.Read(make([]byte, 1<<10))
			}
			if err != nil {
				t.Error(err)
			}
		}
	}
	s.shape("an answer that is never awaited", 50, say(false, s.head("GET", "/wait")+"\r\n"))
	s.shape("half a body", 50, say(false, s.head("POST", "/", "Content-Length: 1000")+"\r\nhalf"))
	s.shape("events", 50, say(true, s.head("GET", "/events")+"\r\n"))
	s.shape("an upgraded connection", 50, say(true, s.head("GET", "/stuck", "Connection: Upgrade", "Upgrade: websocket",
		"Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")+"\r\n"))
	s.takeBack()
	s.wantAsBefore()
}

// takeBack asks for as much as an HTTP/2 connection takes, takes most of it back,
// asks for more than can begin at once, and leaves.
func (s *siege) takeBack() {
	path := "/local_tunnel/" + string(s.attacked.slug)
	s.shape("requests that are taken back", 10, func(ctx context.Context, _ int) {
		for range 2 {
			conn, err := s.dial(ctx, "h2")
			if err != nil {
				return
			}
			f := newFramer(conn)
			ask := func(stream uint32) error {
				return f.headers(stream, true, ":method", "GET", ":scheme", "https", ":authority", s.addr, ":path", path+"/wait")
			}
			_, _ = f.out.WriteString(http2.ClientPreface)
			_ = f.WriteSettings()
			_ = f.WriteSettingsAck()
			_ = f.repeat(250, func(i uint32) error { return ask(2*i + 1) })
			_ = f.WritePing(false, [8]byte{1})
			_ = f.out.Flush()
			for seen := false; !seen; { // all of it
				frame, err := f.ReadFrame()
				if err != nil {
					s.t.Error(err)
					return
				}
				p, ping := frame.(*http2.PingFrame)
				seen = ping && p.IsAck()
			}
			for i := uint32(3); i < 500; i += 2 {
				_ = f.WriteRSTStream(i, http2.ErrCodeCancel)
			}
			_ = f.repeat(990, func(i uint32) error {
				if err := ask(2*i + 501); err != nil {
					return err
				}
				return f.WriteRSTStream(2*i+501, http2.ErrCodeCancel)
			})
			_ = conn.(*tls.Conn).CloseWrite()
			_, _ = io.Copy(io.Discard, conn)
			_ = conn.Close()
		}
	})
}
