package e2e

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	"golang.org/x/net/http2"
)

// framedAgent links an agent whose frames are the test's own; it answers PINGs, and
// gives answer, which may be nil, the header of each request.
func framedAgent(t *testing.T, e *edge, c credentials, answer func(f *framer, stream uint32) error, settings ...http2.Setting) {
	t.Helper()
	path, header := opens(c, "")
	ws, _, err := websocket.Dial(t.Context(), e.url+path, &websocket.DialOptions{HTTPHeader: header, Subprotocols: []string{"bindu.h2"}})
	if err != nil {
		t.Fatal(err)
	}
	conn := websocket.NetConn(t.Context(), ws, websocket.MessageBinary)
	if _, err := io.ReadFull(conn, make([]byte, len(http2.ClientPreface))); err != nil {
		t.Fatal(err)
	}
	f := newFramer(conn)
	_ = f.WriteSettings(append(settings, http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 10000})...)
	_ = f.WriteSettingsAck()
	_ = f.out.Flush()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			frame, err := f.ReadFrame()
			if err != nil {
				return
			}
			switch frame := frame.(type) {
			case *http2.HeadersFrame:
				if answer != nil {
					err = answer(f, frame.StreamID)
				}
			case *http2.PingFrame:
				if !frame.IsAck() {
					err = f.WritePing(true, frame.Data)
				}
			}
			if err != nil || f.out.Flush() != nil {
				return
			}
		}
	}()
	t.Cleanup(func() {
		_ = ws.CloseNow()
		<-ended
	})
}

// deafAgent links an agent that lets nobody send it a body, and answers nothing.
func deafAgent(t *testing.T, e *edge, c credentials) {
	t.Helper()
	framedAgent(t, e, c, nil, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
}

// Uploads that an agent doesn't take wait at the pod that holds its link, as much of
// them as that has memory for. The others are cut, and other tunnels behind the same
// hop are served.
func TestUploadsThatNobodyTakes(t *testing.T) {
	t.Parallel()
	const limit, callers = 160 * mib, 420 // of 256 KiB each, twice what there is room for
	program, err := plainBinary()
	if err != nil {
		t.Fatal(err)
	}
	w := &world{plane: startPlane(t)}
	env := startRedis(t).env("RELAY=direct", "PEER_SECRET="+peerSecret)
	var pods []*edge
	for range 2 {
		own := append(slices.Clone(env), fmt.Sprint("PEER_ADDR=127.0.0.1:", freePort(t)), "GOMEMLIMIT=160MiB")
		pods = append(pods, runEdge(t, program, edgeEnv(t, w.plane, own...)))
	}
	holder := pods[0]
	w.edge = pods[1]
	w.cred = w.plane.create(t, "")
	deafAgent(t, holder, w.cred)
	beside := w.plane.create(t, "")
	startAgent(t, holder, beside, startOrigin(t, http.HandlerFunc(echo)))
	if got := status(t, w.edge.path(beside, "/")); got != http.StatusOK {
		t.Fatalf("the other tunnel before: %d", got)
	}
	before := holder.memory("VmRSS")

	block := noise(64 << 10)
	var cut atomic.Int64
	all := make([]*wireCaller, callers)
	for i := range all {
		c := dialRaw(t, w.edge)
		_ = c.SetDeadline(time.Time{})
		c.send(w.on("POST", "/", "Content-Length: 10000000"))
		go func() { // both end with the connection
			for {
				if _, err := c.Write(block); err != nil {
					return
				}
			}
		}()
		go func() {
			res, err := http.ReadResponse(c.read, nil)
			if err != nil {
				return
			}
			_ = res.Body.Close()
			if res.StatusCode == http.StatusGatewayTimeout && res.Header.Get("Bindu-Edge-Error") == "first_byte_timeout" {
				cut.Add(1)
			}
		}()
		all[i] = c
	}
	served, refused := 0, 0
	eventually(t, "those that don't fit are cut", func() bool {
		isServed(t, w.edge.path(beside, "/"), &served, &refused)
		return cut.Load() > callers/4 && served > 0
	})
	peak := holder.memory("VmHWM")
	t.Logf("the holder had %d MiB and came to %d; %d were cut; the other tunnel was served %d times, refused %d", before>>20, peak>>20, cut.Load(), served, refused)
	if peak > before+limit {
		t.Errorf("it has grown by %d bytes, with a limit of %d", peak-before, limit)
	}
	for _, c := range all {
		_ = c.Close()
	}
	eventually(t, "all is well", func() bool { return status(t, w.edge.path(beside, "/")) == http.StatusOK })
}

// Answers of a JSON agent that callers don't read wait whole, as many as there is
// memory for. It gets rid of all of them all the same, and is served on.
func TestJSONAnswersThatNobodyReads(t *testing.T) {
	t.Parallel()
	const size, callers = 800 << 10, 130 // twice what there is room for
	const room = 160 * mib / 3
	program, err := plainBinary()
	if err != nil {
		t.Fatal(err)
	}
	w := &world{plane: startPlane(t)}
	w.edge = runEdge(t, program, edgeEnv(t, w.plane, "GOMEMLIMIT=160MiB", "MAX_WS_PAYLOAD_BYTES=1048576", "CALLER_STALL_SECONDS=300"))
	w.cred = w.plane.create(t, "")
	path, header := opens(w.cred, "")
	ws, _, err := websocket.Dial(t.Context(), w.edge.url+path, &websocket.DialOptions{HTTPHeader: header})
	if err != nil {
		t.Fatal(err)
	}
	ws.SetReadLimit(-1)
	var answered atomic.Int64
	body := strings.Repeat("x", size)
	requests, ended := make(chan jsonRequest, callers+100), make(chan struct{}, 2)
	go func() { // what is read must not wait for what is written
		defer close(requests)
		_ = eachMessage(t.Context(), ws, func(m jsonMessage) error {
			if m.Type == "request" {
				requests <- m.jsonRequest
			}
			return nil
		})
		ended <- struct{}{}
	}()
	go func() {
		for r := range requests {
			text := body
			if strings.HasSuffix(r.Path, "/small") {
				text = "small"
			}
			if ws.Write(t.Context(), websocket.MessageText, []byte(response(r, `"status":200,"body":"`+text+`"`))) != nil {
				break
			}
			answered.Add(1)
		}
		ended <- struct{}{}
	}()
	t.Cleanup(func() {
		_ = ws.CloseNow()
		<-ended
		<-ended
	})
	if got := get(t, w.url("/small")); got.body != "small" {
		t.Fatalf("before: %d %q", got.StatusCode, got.body)
	}
	for range callers {
		c := dialRaw(t, w.edge)
		c.narrow()
		c.send(w.on("GET", "/"))
	}
	most := 0.0
	eventually(t, "all are answered", func() bool {
		waiting := scrape(t, w.edge).series["bindu_edge_buffered_bytes"]
		most = max(most, waiting)
		if waiting > room+2*size {
			t.Fatalf("%.0f bytes wait, with room for %d", waiting, room)
		}
		return answered.Load() == callers+1
	})
	t.Logf("at most %.0f bytes waited; the pod came to %d MiB", most, w.edge.memory("VmHWM")>>20)
	if most < room/2 {
		t.Errorf("%.0f bytes waited at most, which proves nothing", most)
	}
	eventually(t, "all is well", func() bool { return get(t, w.url("/small")).body == "small" })
}

// Uploads that callers send over HTTP/2 wait at their door, in windows that
// net/http has given them, when the agent takes nothing.
func TestUploadsAtTheDoorThatNobodyTakes(t *testing.T) {
	t.Parallel()
	const limit, conns, each = 160 * mib, 40, 16 // of 256 KiB: three times what there is room for
	program, err := plainBinary()
	if err != nil {
		t.Fatal(err)
	}
	w := &world{plane: startPlane(t)}
	w.edge = runEdge(t, program, edgeEnv(t, w.plane, "GOMEMLIMIT=160MiB"))
	w.cred = w.plane.create(t, "")
	deafAgent(t, w.edge, w.cred)
	beside := w.plane.create(t, "")
	startAgent(t, w.edge, beside, startOrigin(t, http.HandlerFunc(echo)))
	before := w.edge.memory("VmRSS")

	ctx, leave := context.WithCancel(t.Context())
	var calls sync.WaitGroup
	var cut atomic.Int64
	body := noise(8 << 20)
	for range conns {
		caller := callerH2(t)
		for range each {
			calls.Go(func() {
				res, err := caller.Do(request(ctx, t, http.MethodPost, w.url("/"), bytes.NewReader(body)))
				if err != nil {
					return
				}
				_ = res.Body.Close()
				if res.StatusCode == http.StatusGatewayTimeout && res.Header.Get("Bindu-Edge-Error") == "first_byte_timeout" {
					cut.Add(1)
				}
			})
		}
	}
	defer calls.Wait()
	defer leave()
	served, refused := 0, 0
	eventually(t, "those that don't fit are cut", func() bool {
		isServed(t, w.edge.path(beside, "/"), &served, &refused)
		return cut.Load() > conns*each/4 && served > 0
	})
	peak := w.edge.memory("VmHWM")
	t.Logf("the pod had %d MiB and came to %d; %d were cut; the other tunnel was served %d times, refused %d", before>>20, peak>>20, cut.Load(), served, refused)
	if peak > before+limit {
		t.Errorf("it has grown by %d bytes, with a limit of %d", peak-before, limit)
	}
	leave()
	calls.Wait()
	eventually(t, "all is well", func() bool { return status(t, w.edge.path(beside, "/")) == http.StatusOK })
}
