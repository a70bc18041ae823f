package link_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/coder/websocket"

	"github.com/getbindu/bindu-edge/internal/fault"
	"github.com/getbindu/bindu-edge/internal/link"
	"github.com/getbindu/bindu-edge/internal/wsconn"
)

// A bomb costs what the bound allows and no more, however much it would inflate
// to and however many come at once; and the tunnel works on.
func TestJSONBombs(t *testing.T) {
	var member bytes.Buffer
	z := gzip.NewWriter(&member)
	_, _ = io.CopyN(z, endlessUnit("0"), 8<<20)
	_ = z.Close()
	bomb := base64.StdEncoding.EncodeToString(bytes.Repeat(member.Bytes(), 64)) // of 512 MiB
	const total = 32 << 20
	l, a := meetJSON(t, link.JSONOptions{MaxMessage: 16 << 20, Inflater: link.NewInflater(0, total)})
	done := a.answering(func(m jsonRequest) string {
		if m.Path == "/bomb" {
			return `{"type":"response","request_id":"` + m.RequestID + `","compressed":true,"data":"` + bomb + `"}`
		}
		return `{"type":"response","request_id":"` + m.RequestID + `","status":200,"body":"ok"}`
	})
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	var callers sync.WaitGroup
	const bombs = 4
	for range bombs {
		callers.Go(func() {
			if r := <-ask(l, newRequest(t, "GET", "/bomb", nil)); codeOf(r.err) != fault.BadAgentResponse {
				t.Errorf("got %v", r.err)
			}
		})
	}
	callers.Wait()
	runtime.ReadMemStats(&after)
	// For each: the message in a few pairs of hands, and what was inflated, of at
	// most 10 MiB, in a buffer that grew (and, with the race detector, in pools
	// that forget on purpose). Everything that inflates would be 2 GiB.
	const most = bombs * 80 << 20
	if used := after.TotalAlloc - before.TotalAlloc; used > most {
		t.Errorf("allocated %d MiB, want at most %d", used>>20, most>>20)
	}
	want(t, l, newRequest(t, "GET", "/", nil), 200, "ok")
	l.Close(link.ReasonDraining)
	done.Wait()
}

// Responses that are held by slow callers count against the pod's memory, and
// make others wait as long as their own time allows.
func TestJSONInflatedMemoryIsShared(t *testing.T) {
	t.Parallel()
	const size = 1 << 20
	body := bytes.Repeat([]byte("x"), size-200)
	l, a := meetJSON(t, link.JSONOptions{Inflater: link.NewInflater(size, 2*size+1000)})
	done := a.answering(func(m jsonRequest) string {
		return packed(m.RequestID, `{"type":"response","request_id":"`+m.RequestID+`","status":200,"body":"`+string(body)+`"}`)
	})
	res, err := l.RoundTrip(newRequest(t, "GET", "/", nil))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	waiting := ask(l, newRequest(t, "GET", "/", nil).WithContext(ctx))
	patient := ask(l, newRequest(t, "GET", "/", nil))
	cancel()
	if r := <-waiting; !errors.Is(r.err, context.Canceled) {
		t.Errorf("the one that left: %v", r.err)
	}
	select {
	case r := <-patient:
		t.Errorf("did not wait: %d bytes, %v", len(r.body), r.err)
	default:
	}
	_ = res.Body.Close()
	if r := <-patient; r.body != string(body) {
		t.Errorf("the one that waited: %d bytes, %v", len(r.body), r.err)
	}
	l.Close(link.ReasonDraining)
	done.Wait()
}

// What an idle link costs the edge, its connection and the server's goroutine
// included: memory that is in use, and stacks. The agents in this process are
// bare sockets.
func BenchmarkIdleJSON(b *testing.B) {
	const links = 1000
	live := make(chan *link.JSON, links)
	inflater := link.NewInflater(0, 0)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ws, err := websocket.Accept(wsconn.SmallBuffers(w), r, nil)
		if err != nil {
			b.Error(err)
			return
		}
		l := link.NewJSON(ws, link.JSONOptions{Inflater: inflater})
		live <- l // and no more: a handler that stays keeps the server's buffers
	}))
	defer server.Close()
	for b.Loop() {
		agents := make([]net.Conn, 0, links)
		open := make([]*link.JSON, 0, links)
		before := inUse()
		for range links {
			agents = append(agents, bareAgent(b, server.Listener.Addr().String()))
			open = append(open, <-live)
		}
		for i, l := range open { // each has worked once, as a link that idles has
			asked := ask(l, newRequest(b, "POST", "/", text(strings.Repeat("x", 50<<10))))
			answerOnce(b, agents[i])
			if r := <-asked; r.err != nil {
				b.Fatal(r.err)
			}
		}
		b.ReportMetric(float64(inUse()-before)/links, "bytes/link")
		for i, l := range open {
			_ = agents[i].Close()
			l.Wait()
		}
	}
}

// bareAgent does the handshake and keeps nothing but the socket.
func bareAgent(b *testing.B, address string) net.Conn {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		b.Fatal(err)
	}
	_, _ = io.WriteString(conn, "GET /ws/t HTTP/1.1\r\nHost: edge.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nX-Tunnel-Token: "+strings.Repeat("t", 43)+"\r\n\r\n")
	got := make([]byte, 0, 1024)
	for !bytes.HasSuffix(got, []byte("\r\n\r\n")) {
		n, err := conn.Read(got[len(got):cap(got)])
		if err != nil {
			b.Fatal(err)
		}
		got = got[:len(got)+n]
	}
	return conn
}

// answerOnce reads the next large frame, which has a length of 16 bits (RFC
// 6455, section 5.2), and answers its request.
func answerOnce(b *testing.B, conn net.Conn) {
	header := make([]byte, 4)
	if _, err := io.ReadFull(conn, header); err != nil || header[1] != 126 {
		b.Fatalf("frame %x, %v", header, err)
	}
	message := make([]byte, int(header[2])<<8|int(header[3]))
	if _, err := io.ReadFull(conn, message); err != nil {
		b.Fatal(err)
	}
	_, id, _ := strings.Cut(string(message), `"request_id":"`)
	answer := `{"type":"response","request_id":"` + id[:32] + `","status":200}`
	_, _ = conn.Write(append([]byte{0x81, 0x80 | byte(len(answer)), 0, 0, 0, 0}, answer...)) // masked with zeros
}

func inUse() uint64 {
	for range 3 { // pools let go after two
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapInuse + m.StackInuse
}

// The cost of one exchange, both sides in memory.
func BenchmarkJSONRoundTrip(b *testing.B) {
	l, a := meetJSON(b, link.JSONOptions{})
	body := string(bytes.Repeat([]byte("x"), 4<<10))
	done := a.answering(func(m jsonRequest) string {
		return `{"type":"response","request_id":"` + m.RequestID + `","status":200,"headers":{"content-type":"text/plain"},"body":"` + body + `"}`
	})
	b.ReportAllocs()
	for b.Loop() {
		res, err := l.RoundTrip(newRequest(b, "POST", "/", text(body)))
		if err != nil {
			b.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, res.Body)
		_ = res.Body.Close()
	}
	l.Close(link.ReasonDraining)
	done.Wait()
}
