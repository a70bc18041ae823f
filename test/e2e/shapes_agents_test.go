package e2e

import (
	"bufio"
	"context"
	"crypto/tls"
	bigendian "encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"golang.org/x/net/http2"

	"github.com/getbindu/bindu-edge/internal/control"
)

// Agents with a right token who speak their protocol as no agent does, while
// callers ask for their tunnels: others are served meanwhile, and nothing of it
// stays. It is measured, so it has the machine to itself.
func TestShapesOfAgents(t *testing.T) {
	s := startSiege(t, time.Second, http.HandlerFunc(shapesOrigin))
	const many = 20_000
	var all []attack
	for _, row := range h2AgentShapes(many) {
		all = append(all, attack{row.name, func(ctx context.Context, deaf bool) { s.badH2Agent(ctx, deaf, row.settings, row.send) }})
	}
	for _, row := range socketShapes(many) {
		all = append(all, attack{row.protocol + ": " + row.name, func(ctx context.Context, deaf bool) { s.badSocket(ctx, deaf, row.protocol, row.send) }})
	}
	s.shapes(all)
	s.wantAsBefore()
}

// h2AgentShape is sent by an agent that has got a request on a stream.
type h2AgentShape struct {
	name     string
	settings []http2.Setting
	send     func(f *framer, stream uint32) error
}

func h2AgentShapes(many int) []h2AgentShape {
	full := []byte(strings.Repeat("x", 16<<10))
	begun := func(f *framer, stream uint32) error { return f.headers(stream, false, ":status", "200") }
	again := func(n int, write func(f *framer, stream, i uint32) error) func(*framer, uint32) error {
		return func(f *framer, stream uint32) error {
			return f.repeat(n, func(i uint32) error { return write(f, stream, i) })
		}
	}
	then := func(first func(*framer, uint32) error, n int, write func(f *framer, stream, i uint32) error) func(*framer, uint32) error {
		return func(f *framer, stream uint32) error {
			if err := first(f, stream); err != nil {
				return err
			}
			return again(n, write)(f, stream)
		}
	}
	statuses := func(list ...string) func(*framer, uint32) error {
		return func(f *framer, stream uint32) error {
			for _, status := range list {
				if err := f.headers(stream, false, ":status", status, "x", "y"); err != nil {
					return err
				}
			}
			return nil
		}
	}
	return []h2AgentShape{
		{"SETTINGS", nil, again(many, func(f *framer, _, i uint32) error {
			return f.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: i})
		})},
		{"SETTINGS of no streams", []http2.Setting{{ID: http2.SettingMaxConcurrentStreams, Val: 0}}, begun},
		{"SETTINGS of a huge table", []http2.Setting{{ID: http2.SettingHeaderTableSize, Val: 1<<32 - 1}}, begun},
		{"SETTINGS of no window", []http2.Setting{{ID: http2.SettingInitialWindowSize, Val: 0}}, begun},
		{"PING", nil, again(many, func(f *framer, _, _ uint32) error { return f.WritePing(false, [8]byte{1}) })},
		{"PING answered unasked", nil, again(many, func(f *framer, _, i uint32) error { return f.WritePing(true, [8]byte{byte(i)}) })},
		{"WINDOW_UPDATE overflow of the connection", nil, again(10, func(f *framer, _, _ uint32) error { return f.WriteWindowUpdate(0, 1<<31-1) })},
		{"WINDOW_UPDATE overflow of a stream", nil, again(10, func(f *framer, stream, _ uint32) error { return f.WriteWindowUpdate(stream, 1<<31-1) })},
		{"WINDOW_UPDATE of nothing", nil, again(10, func(f *framer, _, i uint32) error { return f.WriteWindowUpdate(i, 0) })},
		{"PUSH_PROMISE", nil, again(10, func(f *framer, stream, i uint32) error {
			return f.WritePushPromise(http2.PushPromiseParam{StreamID: stream, PromiseID: 2*i + 2, BlockFragment: f.header(":method", "GET", ":path", "/"), EndHeaders: true})
		})},
		{"GOAWAY", nil, again(many, func(f *framer, _, i uint32) error { return f.WriteGoAway(i, http2.ErrCodeEnhanceYourCalm, full[:100]) })},
		{"RST_STREAM", nil, again(many, func(f *framer, stream, i uint32) error {
			return f.WriteRSTStream(stream+2*i, http2.ErrCodeRefusedStream)
		})},
		{"a header of 16 MB", nil, func(f *framer, stream uint32) error {
			if err := f.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: f.header(":status", "200")}); err != nil {
				return err
			}
			return f.repeat(2000, func(uint32) error {
				return f.WriteContinuation(stream, false, f.header("x-long", strings.Repeat("y", 8<<10)))
			})
		}},
		{"CONTINUATION of nothing", nil, func(f *framer, stream uint32) error {
			if err := f.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: f.header(":status", "200")}); err != nil {
				return err
			}
			return f.repeat(many, func(uint32) error { return f.WriteContinuation(stream, false, nil) })
		}},
		{"half a header", nil, func(f *framer, stream uint32) error {
			return f.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: f.header(":status", "200")})
		}},
		{"a header that unpacks to 40 MB", nil, func(f *framer, stream uint32) error {
			fields := []string{":status", "200"}
			for range 10_000 {
				fields = append(fields, "x-long", strings.Repeat("x", 4000))
			}
			return f.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: f.header(fields...), EndHeaders: true})
		}},
		{"no HPACK", nil, func(f *framer, stream uint32) error {
			return f.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: full[:5], EndHeaders: true})
		}},
		{"103 again and again", nil, again(many, func(f *framer, stream, _ uint32) error {
			return f.headers(stream, false, ":status", "103", "link", strings.Repeat("x", 1000))
		})},
		{"statuses that can't be", nil, statuses("abc", "", "-1", "99", "1000", "101")},
		{"two answers", nil, statuses("200", "200", "404")},
		{"no status", nil, func(f *framer, stream uint32) error { return f.headers(stream, false, ":path", "/", "x", "y") }},
		{"trailers of 1 MB", nil, then(begun, 128, func(f *framer, stream, _ uint32) error {
			return f.headers(stream, true, "x-long", strings.Repeat("z", 8<<10))
		})},
		{"DATA before a header", nil, again(10, func(f *framer, stream, _ uint32) error { return f.WriteData(stream, false, full) })},
		{"DATA beyond the window", nil, then(begun, 2000, func(f *framer, stream, _ uint32) error { return f.WriteData(stream, false, full) })},
		{"DATA without bytes", nil, then(begun, many, func(f *framer, stream, _ uint32) error { return f.WriteData(stream, false, nil) })},
		{"DATA after the end", nil, then(begun, 100, func(f *framer, stream, _ uint32) error { return f.WriteData(stream, true, full[:1]) })},
		{"DATA on streams that are not there", nil, again(100, func(f *framer, _, i uint32) error { return f.WriteData(2*i+1001, false, full) })},
		{"frames of no type", nil, again(many, func(f *framer, _, i uint32) error { return f.WriteRawFrame(0xfb, 0xff, i, full[:1]) })},
		{"frames that are too long", nil, func(f *framer, stream uint32) error {
			return f.WriteRawFrame(http2.FrameData, 0, stream, make([]byte, 4<<20))
		}},
	}
}

// badH2Agent links an agent, takes a caller's request, and sends. It reads on
// unless it is deaf.
func (s *siege) badH2Agent(ctx context.Context, deaf bool, settings []http2.Setting, send func(*framer, uint32) error) {
	c, err := s.tunnelOf()
	if err != nil {
		s.t.Error(err)
		return
	}
	path, header := opens(c, "")
	plain := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: s.ca.Roots}, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return s.dialTCP(ctx)
	}}}
	ws, _, err := websocket.Dial(ctx, s.url+path, &websocket.DialOptions{HTTPClient: plain, HTTPHeader: header, Subprotocols: []string{"bindu.h2"}})
	if err != nil {
		return // the machine is slow, and time is over
	}
	defer func() { _ = ws.CloseNow() }()
	conn := websocket.NetConn(ctx, ws, websocket.MessageBinary)
	if _, err := io.ReadFull(conn, make([]byte, len(http2.ClientPreface))); err != nil {
		return
	}
	f := newFramer(conn)
	if err := errors.Join(f.WriteSettings(settings...), f.WriteSettingsAck(), f.out.Flush()); err != nil {
		return
	}
	ended := s.callers(ctx, c)
	defer func() { <-ended }()
	stream := uint32(1)
	for {
		frame, err := f.ReadFrame()
		if err != nil {
			return
		}
		if frame, ok := frame.(*http2.HeadersFrame); ok {
			stream = frame.StreamID
			break
		}
	}
	heard := make(chan struct{})
	go func() {
		defer close(heard)
		if deaf {
			<-ctx.Done()
		}
		_, _ = io.Copy(io.Discard, conn)
	}()
	if err := send(f, stream); err == nil && f.out.Flush() == nil {
		select {
		case <-heard:
		case <-ctx.Done():
		}
	}
	_ = ws.CloseNow()
	<-heard
}

// tunnelOf makes a tunnel of an attacker's own.
func (s *siege) tunnelOf() (credentials, error) {
	made, token, err := s.plane.CreateTunnel(s.t.Context(), control.Create{ExpiresAt: time.Now().Add(time.Hour)})
	return credentials{made.ID, made.Slug, token}, err
}

// callers asks for a tunnel until ctx ends. What they get is nobody's concern.
func (s *siege) callers(ctx context.Context, c credentials) (ended <-chan struct{}) {
	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: s.ca.Roots}}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer tr.CloseIdleConnections()
		pause := time.NewTicker(5 * time.Millisecond)
		defer pause.Stop()
		for ctx.Err() == nil {
			req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.path(c, "/"), strings.NewReader(strings.Repeat("x", 100_000)))
			if err != nil {
				return
			}
			if res, err := tr.RoundTrip(req); err == nil {
				_, _ = io.Copy(io.Discard, res.Body)
				_ = res.Body.Close()
			}
			select {
			case <-pause.C:
			case <-ctx.Done():
			}
		}
	}()
	return done
}

// socketShape is sent as WebSocket frames, byte for byte.
type socketShape struct {
	protocol, name string
	send           func(w io.Writer) error
}

func socketShapes(many int) []socketShape {
	const text, binaries, begun, on, ping, closing = 0x81, 0x82, 0x02, 0x00, 0x89, 0x88
	// frame is masked with zeros (RFC 6455, section 5.2).
	frame := func(first byte, size int, payload string) string {
		head := []byte{first, 0x80 | 126, 0, 0}
		switch {
		case size < 126:
			head = []byte{first, 0x80 | byte(size)}
		case size < 1<<16:
			bigendian.BigEndian.PutUint16(head[2:], uint16(size)) //nolint:gosec // just compared
		default:
			head = bigendian.BigEndian.AppendUint64([]byte{first, 0x80 | 127}, uint64(size)) //nolint:gosec // positive
		}
		return string(head) + "\x00\x00\x00\x00" + payload
	}
	message := func(first byte, payload string) string { return frame(first, len(payload), payload) }
	again := func(n int, piece string) func(io.Writer) error {
		return func(w io.Writer) error {
			for range n {
				if _, err := io.WriteString(w, piece); err != nil {
					return err
				}
			}
			return nil
		}
	}
	long := strings.Repeat("x", 1<<20)
	h2, json := "bindu.h2", "bindu.v1.json"
	return []socketShape{
		{h2, "no HTTP/2", again(100, message(binaries, long))},
		{h2, "text", again(1, message(text, "hello"))},
		{h2, "pings", again(many, message(ping, "hello"))},
		{h2, "messages of nothing", again(many, message(binaries, ""))},
		{h2, "a message without an end", again(many, message(on, ""))},
		{h2, "a message of 4 EiB", again(1, frame(binaries, 1<<62, long))},
		{h2, "a message half sent", again(1, frame(binaries, 1<<20, "x"))},
		{h2, "reserved bits", again(1, message(0xf2, "x"))},
		{h2, "closes", again(many, message(closing, "\x03\xe8"))},
		{json, "pings of JSON", again(many, message(text, `{"type":"ping"}`))},
		{json, "pongs", again(many, message(text, `{"type":"pong"}`))},
		{json, "answers that nobody waits for", again(many, message(text, `{"type":"response","request_id":"x","status":200,"body":"`+long[:1000]+`"}`))},
		{json, "large answers that nobody waits for", again(1000, message(text, `{"type":"response","request_id":"x","status":200,"body":"`+long[:60_000]+`"}`))},
		{json, "a message of 1 MB", again(10, message(text, `{"type":"ping","x":"`+long+`"}`))},
		{json, "deep JSON", again(1000, message(text, strings.Repeat("[", 60_000)))},
		{json, "deep JSON in a field", again(100, message(text, `{"type":"ping","ts":`+strings.Repeat("[", 30_000)+strings.Repeat("]", 30_000)+"}"))},
		{json, "a field again and again", again(100, message(text, `{"type":"ping"`+strings.Repeat(`,"a":1`, 10_000)+"}"))},
		{json, "no UTF-8", again(1, message(text, "{\"type\":\"ping\",\"x\":\"\xff\xfe\"}"))},
		{json, "binary messages", again(10, message(binaries, "x"))},
		{json, "a message without an end", func(w io.Writer) error {
			if _, err := io.WriteString(w, message(0x01, `{"type":`)); err != nil {
				return err
			}
			return again(many, message(on, " "))(w)
		}},
		{json, "a message begun and left", again(1, message(begun, "x"))},
		{json, "frames that are not masked", again(1, "\x81\x02{}")},
	}
}

// badSocket links an agent by hand and sends bytes. It reads on unless it is deaf.
func (s *siege) badSocket(ctx context.Context, deaf bool, protocol string, send func(io.Writer) error) {
	c, err := s.tunnelOf()
	if err != nil {
		s.t.Error(err)
		return
	}
	conn, err := s.dial(ctx, "http/1.1")
	if err != nil {
		return
	}
	defer func() { _ = conn.Close() }()
	path, header := opens(c, "")
	_, _ = io.WriteString(conn, "GET "+path+" HTTP/1.1\r\nHost: "+s.addr+"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"+
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: "+protocol+"\r\nX-Tunnel-Token: "+header.Get("X-Tunnel-Token")+"\r\n\r\n")
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return // time is over
	}
	if res.StatusCode != http.StatusSwitchingProtocols {
		s.t.Errorf("the handshake of an agent for %s: %d", protocol, res.StatusCode)
		return
	}
	var callers sync.WaitGroup
	callers.Go(func() { <-s.callers(ctx, c) })
	heard := make(chan struct{})
	go func() {
		defer close(heard)
		if deaf {
			<-ctx.Done()
		}
		_, _ = io.Copy(io.Discard, conn)
	}()
	out := bufio.NewWriterSize(conn, 16<<10)
	if err := send(out); err == nil && out.Flush() == nil {
		select {
		case <-heard:
		case <-ctx.Done():
		}
	}
	_ = conn.Close()
	<-heard
	callers.Wait()
}
