package e2e

import (
	"bytes"
	"compress/flate"
	"encoding/base64"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/coder/websocket"
)

// A breach of the protocol ends the tunnel, with its requests, and is logged.
func TestJSONBreach(t *testing.T) {
	t.Parallel()
	p := startPlane(t)
	e := startEdge(t, p, "RECONNECT_GRACE_SECONDS=0")
	const text, binary = websocket.MessageText, websocket.MessageBinary
	tests := []struct {
		name  string
		input string // {id} stands for the id of a request in flight
		kind  websocket.MessageType
		want  websocket.StatusCode
	}{
		{"empty", ``, text, 1008},
		{"no JSON", `{"type":"ping"`, text, 1008},
		{"two values", `{"type":"ping"}{"type":"ping"}`, text, 1008},
		{"comment", `{"type":"ping"/**/}`, text, 1008},
		{"NaN", `{"type":"response","request_id":"{id}","status":NaN}`, text, 1008},
		{"array", `[{"type":"ping"}]`, text, 1008},
		{"string", `"ping"`, text, 1008},
		{"null", `null`, text, 1008},
		{"no type", `{}`, text, 1008},
		{"type null", `{"type":null}`, text, 1008},
		{"type no string", `{"type":1}`, text, 1008},
		{"unknown type", `{"type":"hello"}`, text, 1008},
		{"type in capitals", `{"type":"PING"}`, text, 1008},
		{"TYPE", `{"TYPE":"ping"}`, text, 1008},
		{"request", `{"type":"request","request_id":"1","method":"GET","path":"/","headers":{},"body":null}`, text, 1008},
		{"connected", `{"type":"connected","tunnel_id":"a","slug":"b","public_url":"c"}`, text, 1008},
		{"no request_id", `{"type":"response","status":200}`, text, 1008},
		{"request_id null", `{"type":"response","request_id":null,"status":200}`, text, 1008},
		{"request_id a number", `{"type":"response","request_id":1,"status":200}`, text, 1008},
		{"no status", `{"type":"response","request_id":"{id}"}`, text, 1008},
		{"status null", `{"type":"response","request_id":"{id}","status":null}`, text, 1008},
		{"status a string", `{"type":"response","request_id":"{id}","status":"200"}`, text, 1008},
		{"Status", `{"type":"response","request_id":"{id}","Status":200}`, text, 1008},
		{"headers an array", `{"type":"response","request_id":"{id}","status":200,"headers":[]}`, text, 1008},
		{"header a number", `{"type":"response","request_id":"{id}","status":200,"headers":{"x":1}}`, text, 1008},
		{"header an object", `{"type":"response","request_id":"{id}","status":200,"headers":{"x":{}}}`, text, 1008},
		{"header an array of numbers", `{"type":"response","request_id":"{id}","status":200,"headers":{"x":["a",1]}}`, text, 1008},
		{"body_encoding a boolean", `{"type":"response","request_id":"{id}","status":200,"body_encoding":false}`, text, 1008},
		{"compressed a string", `{"type":"response","request_id":"{id}","status":200,"compressed":"true"}`, text, 1008},
		{"compressed, no data", `{"type":"response","request_id":"{id}","status":200,"compressed":true}`, text, 1008},
		{"compressed, data null", `{"type":"response","request_id":"{id}","compressed":true,"data":null}`, text, 1008},
		{"data no string", `{"type":"response","request_id":"{id}","compressed":true,"data":["x"]}`, text, 1008},
		{"data no string, not compressed", `{"type":"response","request_id":"{id}","status":200,"data":1}`, text, 1008},
		{"wrong type, for nobody", `{"type":"response","request_id":"nobody's","status":"200"}`, text, 1008},
		{"binary", `{"type":"pong"}`, binary, 1003},
		{"no UTF-8", "{\"type\":\"pong\",\"x\":\"\xff\"}", text, 1007},
		{"half a character", "{\"type\":\"pong\"}\xc3", text, 1007},
		{"too large", `{"type":"pong","x":"` + strings.Repeat("x", 65537-22) + `"}`, text, 1009},
		{"much too large", strings.Repeat("x", 1<<20), text, 1009},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			j := tunnelOf(t, p, e)
			r, done := j.ask("GET", "/held")
			j.write(tt.kind, strings.ReplaceAll(tt.input, "{id}", r.ID))
			j.wantLost(done)
			j.wantClosed(tt.want, "protocol_error")
			if line := e.waitLine(`"tunnel_id":"`+string(j.cred.id)+`","reason":"protocol_error"`, 1); !strings.Contains(line, `"level":"WARN"`) || !strings.Contains(line, `"error":"`) {
				t.Errorf("logged as %s", line)
			}
			wantError(t, get(t, j.url("/")), 503, "tunnel_offline")
		})
	}
}

// What is odd and no breach.
func TestJSONTolerance(t *testing.T) {
	t.Parallel()
	p, j := startJSON(t)
	for _, message := range []string{
		`{"type":"pong","ts":1700000000.5,"extra":[{}]}`,
		" \t\r\n{\"type\" : \"pong\"}\n",
		`{"\u0074ype":"po\u006eg"}`,
		`{"type":"pong","request_id":1,"status":"these are a response's"}`,
		`{"type":"response","request_id":"nobody's","status":200}`,
		`{"type":"response","request_id":"","status":200,"headers":null,"body":null,"body_encoding":null,"compressed":null,"data":null}`,
		`{"type":"pong","x":"` + strings.Repeat("x", 65536-22) + `"}`,
	} {
		j.send(message)
		j.wantAlive()
	}
	j.send(`{"type":"ping","ts":1}`)
	if got := receive(t, "a pong", j.others); got != `{"type":"pong"}` {
		t.Errorf("a ping was answered with %s", got)
	}
	if err := j.ws.Ping(t.Context()); err != nil {
		t.Errorf("a ping of the WebSocket's own: %v", err)
	}

	// The largest answer, to the byte.
	r, done := j.ask("GET", "/")
	room := 65536 - len(response(r, `"status":200,"body":""`))
	j.reply(r, `"status":200,"body":"`+strings.Repeat("x", room)+`"`)
	if a := j.result(done); a.StatusCode != 200 || len(a.body) != room {
		t.Errorf("the largest answer: %d, %d bytes", a.StatusCode, len(a.body))
	}

	// Another tunnel's request is not this one's to answer, and no second answer counts.
	other := tunnelOf(t, p, j.edge)
	r, done = j.ask("GET", "/mine")
	other.reply(r, `"status":200,"body":"forged"`)
	other.wantAlive() // so the forged answer has been read
	j.reply(r, `"status":200,"body":"true"`)
	j.reply(r, `"status":200,"body":"again"`)
	wantAnswer(t, receive(t, "the answer", done), "true")
	j.wantAlive()
}

// An answer that inflates to hundreds of MB costs its own caller a 502, and the
// pod next to nothing.
func TestJSONBomb(t *testing.T) {
	t.Parallel()
	_, j := startJSON(t, "MAX_WS_PAYLOAD_BYTES=1048576")
	var zeros bytes.Buffer
	z, err := flate.NewWriter(&zeros, flate.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := z.Write(make([]byte, 1<<20)); err != nil {
		t.Fatal(err)
	}
	if err := z.Flush(); err != nil { // so that it can stand many times in one stream
		t.Fatal(err)
	}
	gzipHeader := []byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff}
	bomb := append(gzipHeader, bytes.Repeat(zeros.Bytes(), 400)...)
	// The size that the trailer names is a lie, either way.
	small, large := append(bytes.Clone(bomb), 1, 0, 0, 0, 0, 1, 0, 0, 0), append(bytes.Clone(bomb), 1, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff)

	before := peakMemory(t, j.edge)
	const n = 8
	var waiting []<-chan asked
	for range n {
		waiting = append(waiting, ask(request(t.Context(), t, "GET", j.url("/"), nil)))
	}
	for i := range n {
		data := small
		if i%2 == 0 {
			data = large
		}
		j.reply(j.next(), `"compressed":true,"data":"`+base64.StdEncoding.EncodeToString(data)+`"`)
	}
	for _, done := range waiting {
		wantError(t, j.result(done), 502, "bad_agent_response")
	}
	j.wantAlive()
	// What a pod inflates at once may hold 128 MiB, and the garbage collector lets
	// as much again lie about.
	grown := peakMemory(t, j.edge) - before
	if grown > 300<<20 {
		t.Errorf("%d bombs of 400 MiB took %d MiB", n, grown>>20)
	}

	// The limit, to the byte.
	for _, over := range []int{0, 1} {
		r, done := j.ask("GET", "/")
		room := 10<<20 - len(response(r, `"status":200,"body":""`)) + over
		j.reply(r, `"compressed":true,"data":"`+packed(t, response(r, `"status":200,"body":"`+strings.Repeat("x", room)+`"`))+`"`)
		if a := j.result(done); over == 0 && (a.StatusCode != 200 || len(a.body) != room) || over == 1 && a.StatusCode != 502 {
			t.Errorf("%d bytes over the limit: %d, %d bytes", over, a.StatusCode, len(a.body))
		}
	}
	j.wantAlive()
}

// peakMemory is the most that the program has asked of the system, in bytes:
// that never shrinks, and leaves out what the race detector takes for itself.
func peakMemory(t *testing.T, e *edge) int {
	t.Helper()
	m := regexp.MustCompile(`(?m)^go_memstats_sys_bytes (\S+)$`).FindStringSubmatch(get(t, e.admin+"/metrics").body)
	if m == nil {
		t.Fatal("the metrics name no go_memstats_sys_bytes")
	}
	n, err := strconv.ParseFloat(m[1], 64)
	if err != nil {
		t.Fatal(err)
	}
	return int(n)
}
