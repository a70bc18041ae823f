package e2e

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

// Callers who send frames as no HTTP/2 implementation does, over TLS: others are
// served meanwhile, nobody's link ends, and nothing of it stays. Single requests
// with a wrong header are in hostileH2.
// It is measured, so it has the machine to itself.
func TestShapesOfHTTP2(t *testing.T) {
	s := startSiege(t, time.Second, http.HandlerFunc(shapesOrigin))
	path := "/local_tunnel/" + string(s.attacked.slug)
	get := func(f *framer, stream uint32, path string, more ...string) error {
		return f.headers(stream, true, append([]string{":method", "GET", ":scheme", "https", ":authority", s.addr, ":path", path}, more...)...)
	}
	post := func(f *framer, stream uint32) error {
		return f.headers(stream, false, ":method", "POST", ":scheme", "https", ":authority", s.addr, ":path", path+"/")
	}
	// frames makes a connection and sends frames on it. What the edge says is read,
	// unless deaf.
	frames := func(settings []http2.Setting, send func(*framer) error) func(context.Context, bool) {
		return func(ctx context.Context, deaf bool) {
			conn, err := s.dial(ctx, "h2")
			if err != nil {
				return
			}
			f := newFramer(conn)
			_, _ = f.out.WriteString(http2.ClientPreface) // what is wrong with a connection shows in what follows
			_ = f.WriteSettings(settings...)
			heard := make(chan struct{})
			go func() {
				defer close(heard)
				if deaf {
					<-ctx.Done()
				}
				_, _ = io.Copy(io.Discard, conn)
			}()
			if err := send(f); err == nil && f.out.Flush() == nil {
				select { // the edge goes on with it until it has had enough
				case <-heard:
				case <-ctx.Done():
				}
			}
			_ = conn.Close()
			<-heard
		}
	}
	flood := func(n int, write func(f *framer, i uint32) error) func(*framer) error {
		return func(f *framer) error { return f.repeat(n, func(i uint32) error { return write(f, i) }) }
	}
	odd := func(i uint32) uint32 { return 2*i + 1 }
	const many = 50_000
	full := []byte(strings.Repeat("x", 16<<10))

	var all []attack
	for _, row := range []struct {
		name     string
		settings []http2.Setting
		send     func(*framer) error
	}{
		{"SETTINGS", nil, flood(many, func(f *framer, i uint32) error {
			return f.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: i % 100})
		})},
		{"SETTINGS that can't be", nil, func(f *framer) error {
			return f.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 31}, http2.Setting{ID: http2.SettingMaxFrameSize, Val: 0})
		}},
		{"SETTINGS of a huge table", []http2.Setting{{ID: http2.SettingHeaderTableSize, Val: 1<<32 - 1}}, flood(200, func(f *framer, i uint32) error {
			return get(f, odd(i), path+"/bytes/1")
		})},
		{"PING", nil, flood(many, func(f *framer, _ uint32) error { return f.WritePing(false, [8]byte{1}) })},
		{"PRIORITY", nil, flood(many, func(f *framer, i uint32) error {
			return f.WritePriority(odd(i), http2.PriorityParam{StreamDep: odd(i), Exclusive: true, Weight: 255})
		})},
		{"frames of no type", nil, flood(many, func(f *framer, i uint32) error { return f.WriteRawFrame(0xfb, 0xff, i, []byte("x")) })},
		{"WINDOW_UPDATE overflow of the connection", nil, flood(10, func(f *framer, _ uint32) error { return f.WriteWindowUpdate(0, 1<<31-1) })},
		{"WINDOW_UPDATE overflow of a stream", nil, func(f *framer) error {
			if err := post(f, 1); err != nil {
				return err
			}
			return f.repeat(10, func(uint32) error { return f.WriteWindowUpdate(1, 1<<31-1) })
		}},
		{"WINDOW_UPDATE of nothing", nil, flood(10, func(f *framer, i uint32) error { return f.WriteWindowUpdate(i, 0) })},
		{"DATA beyond the window", nil, func(f *framer) error {
			if err := post(f, 1); err != nil {
				return err
			}
			return f.repeat(1000, func(uint32) error { return f.WriteData(1, false, full) })
		}},
		{"DATA without bytes", nil, func(f *framer) error {
			if err := post(f, 1); err != nil {
				return err
			}
			return f.repeat(many, func(uint32) error { return f.WriteData(1, false, nil) })
		}},
		{"DATA on a stream that is not there", nil, flood(100, func(f *framer, i uint32) error { return f.WriteData(odd(i), false, full) })},
		{"HEADERS and RST_STREAM", nil, flood(20_000, func(f *framer, i uint32) error {
			if err := post(f, odd(i)); err != nil {
				return err
			}
			return f.WriteRSTStream(odd(i), http2.ErrCodeCancel)
		})},
		{"RST_STREAM of no stream", nil, flood(10, func(f *framer, i uint32) error { return f.WriteRSTStream(odd(i), http2.ErrCodeCancel) })},
		{"more streams than allowed", nil, flood(5000, func(f *framer, i uint32) error { return post(f, odd(i)) })},
		{"CONTINUATION without an end", nil, func(f *framer) error {
			block := f.header("x-long", strings.Repeat("x", 8<<10))
			if err := f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block}); err != nil {
				return err
			}
			return f.repeat(2000, func(uint32) error {
				return f.WriteContinuation(1, false, f.header("x-long", strings.Repeat("y", 8<<10)))
			})
		}},
		{"CONTINUATION of nothing", nil, func(f *framer) error {
			if err := f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: f.header(":method", "GET")}); err != nil {
				return err
			}
			return f.repeat(many, func(uint32) error { return f.WriteContinuation(1, false, nil) })
		}},
		{"a header that unpacks to 40 MB", nil, func(f *framer) error {
			fields := []string{":method", "GET", ":scheme", "https", ":authority", s.addr, ":path", path + "/"}
			for range 10_000 { // one byte each in the frame
				fields = append(fields, "x-long", strings.Repeat("x", 4000))
			}
			block := f.header(fields...)
			return f.repeat(20, func(i uint32) error {
				rest := block
				first := rest[:min(len(rest), 16<<10)]
				rest = rest[len(first):]
				if err := f.WriteHeaders(http2.HeadersFrameParam{StreamID: odd(i), BlockFragment: first, EndStream: true, EndHeaders: len(rest) == 0}); err != nil {
					return err
				}
				for len(rest) > 0 {
					next := rest[:min(len(rest), 16<<10)]
					rest = rest[len(next):]
					if err := f.WriteContinuation(odd(i), len(rest) == 0, next); err != nil {
						return err
					}
				}
				return nil
			})
		}},
		{"no HPACK", nil, func(f *framer) error {
			return f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte{0xff, 0xff, 0xff, 0xff, 0xff}, EndHeaders: true})
		}},
		{"wrong pseudo-headers", nil, func(f *framer) error {
			stream := uint32(1)
			for _, fields := range [][]string{
				{":method", "GET", ":method", "GET", ":scheme", "https", ":authority", s.addr, ":path", path},
				{":method", "GET", ":scheme", "https", ":authority", s.addr, ":path", ""},
				{":method", "GET", ":scheme", "https", ":authority", s.addr, "x", "y", ":path", path},
				{":method", "GET", ":scheme", "https", ":authority", s.addr, ":path", path, ":status", "200"},
				{":method", "GET", ":scheme", "https", ":authority", s.addr, ":path", path, "X-Upper", "y"},
				{":method", "GET", ":scheme", "https", ":authority", s.addr, ":path", path, ":protocol", "websocket"},
				{":method", "GET", ":scheme", "https", ":authority", s.addr, ":path", path, "", ""},
				{},
			} {
				if err := f.headers(stream, true, fields...); err != nil {
					return err
				}
				stream += 2
			}
			return nil
		}},
		{"frames that are too long", nil, func(f *framer) error { return f.WriteRawFrame(http2.FrameData, 0, 1, make([]byte, 1<<20)) }},
		{"frames that are too short", nil, flood(10, func(f *framer, i uint32) error {
			return f.WriteRawFrame(http2.FrameType(i), 0xff, i%2, []byte{0xff})
		})},
		{"a client's PUSH_PROMISE", nil, func(f *framer) error {
			return f.WritePushPromise(http2.PushPromiseParam{StreamID: 1, PromiseID: 2, BlockFragment: f.header(":method", "GET"), EndHeaders: true})
		}},
		{"an even stream", nil, func(f *framer) error { return get(f, 2, path+"/") }},
		{"GOAWAY", nil, flood(many, func(f *framer, i uint32) error { return f.WriteGoAway(i, http2.ErrCodeNo, full[:100]) })},
		{"answers that nobody lets come", []http2.Setting{{ID: http2.SettingInitialWindowSize, Val: 0}}, flood(250, func(f *framer, i uint32) error {
			return get(f, odd(i), path+"/bytes/1000000")
		})},
		{"answers by the byte", []http2.Setting{{ID: http2.SettingInitialWindowSize, Val: 1}}, func(f *framer) error {
			if err := get(f, 1, path+"/bytes/1000000"); err != nil {
				return err
			}
			return f.repeat(10_000, func(uint32) error { return f.WriteWindowUpdate(1, 1) })
		}},
	} {
		all = append(all, attack{row.name, frames(row.settings, row.send)})
	}
	s.shapes(all)
	s.wantAsBefore()
}
