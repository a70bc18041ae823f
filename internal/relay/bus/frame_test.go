package bus

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestDecodeFrame(t *testing.T) {
	t.Parallel()
	tok := newToken()
	credit := func(n uint32) []byte {
		return encodeFrame(kindCredit, 7, binary.BigEndian.AppendUint32(nil, n)...)
	}
	for _, row := range []struct {
		name  string
		input []byte
		want  frame // zero = an error
	}{
		{"accept", encodeFrame(kindAccept, 0, append([]byte{version}, tok[:]...)...), frame{kind: kindAccept, token: tok}},
		{"accept of another version", encodeFrame(kindAccept, 0, append([]byte{version + 1}, tok[:]...)...), frame{}},
		{"accept without a whole token", encodeFrame(kindAccept, 0, append([]byte{version}, tok[1:]...)...), frame{}},
		{"refuse", encodeFrame(kindRefuse, 0, 2), frame{kind: kindRefuse, reason: refusedVersion}},
		{"refuse without a reason", encodeFrame(kindRefuse, 0), frame{}},
		{"ready", encodeFrame(kindReady, 0), frame{kind: kindReady}},
		{"data", encodeFrame(kindData, 1<<63, 1), frame{kind: kindData, number: 1 << 63}},
		{"most data", encodeFrame(kindData, 1, make([]byte, maxPayload)...), frame{kind: kindData, number: 1}},
		{"too much data", encodeFrame(kindData, 1, make([]byte, maxPayload+1)...), frame{}},
		{"no data", encodeFrame(kindData, 1), frame{}},
		{"credit", credit(Window), frame{kind: kindCredit, number: 7, credit: Window}},
		{"no credit", credit(0), frame{}},
		{"credit above the window", credit(Window + 1), frame{}},
		{"most credit", credit(1<<32 - 1), frame{}},
		{"fin", encodeFrame(kindFin, 2), frame{kind: kindFin, number: 2}},
		{"fin with more", encodeFrame(kindFin, 2, 0), frame{}},
		{"abort", encodeFrame(kindAbort, 2), frame{kind: kindAbort, number: 2}},
		{"opening", encodeOpening(opening{version, tok, "pod"}), frame{}},
		{"half a header", encodeFrame(kindFin, 2)[:headerSize-1], frame{}},
		{"nothing", nil, frame{}},
	} {
		got, err := decodeFrame(row.input)
		got.payload = nil
		if (err != nil) != (row.want.kind == 0) {
			t.Errorf("%s: error %v", row.name, err)
		}
		if diff := cmp.Diff(row.want, got, cmp.AllowUnexported(frame{})); diff != "" {
			t.Errorf("%s: -want +got\n%s", row.name, diff)
		}
	}
}

func TestDecodeOpening(t *testing.T) {
	t.Parallel()
	tok := newToken()
	for _, row := range []struct {
		name  string
		input []byte
		want  opening // zero = an error
	}{
		{"opening", encodeOpening(opening{version, tok, "pod-1"}), opening{version, tok, "pod-1"}},
		{"another version", encodeOpening(opening{9, tok, ""}), opening{9, tok, ""}},
		{"longest name", encodeOpening(opening{1, tok, strings.Repeat("x", 255)}), opening{1, tok, strings.Repeat("x", 255)}},
		{"name too long", encodeOpening(opening{1, tok, strings.Repeat("x", 256)}), opening{}},
		{"half a token", encodeOpening(opening{1, tok, ""})[:10], opening{}},
		{"a frame", encodeFrame(kindData, 1, make([]byte, 100)...), opening{}},
		{"nothing", nil, opening{}},
	} {
		got, err := decodeOpening(row.input)
		if (err != nil) != (row.want == opening{}) || got != row.want {
			t.Errorf("%s: %+v, %v; want %+v", row.name, got, err, row.want)
		}
	}
}

func TestEscapeKeepsNamesApart(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ name, input, want string }{
		{"plain", "edge-1-0a1b2c3d", "edge-1-0a1b2c3d"},
		{"dots", "a.b", "a_2eb"},
		{"underscore", "a_2eb", "a_5f2eb"},
		{"wildcards", "*>", "_2a_3e"},
		{"spaces and bytes", " \x00\xff", "_20_00_ff"},
	} {
		if got := escape(row.input); got != row.want {
			t.Errorf("%s: %q, want %q", row.name, got, row.want)
		}
	}
}

func FuzzDecodeFrame(f *testing.F) {
	f.Add(encodeFrame(kindData, 3, 1, 2, 3))
	f.Add(encodeFrame(kindCredit, 1<<40, 0, 1, 0, 0))
	f.Add(encodeFrame(kindAccept, 0, append([]byte{version}, make([]byte, tokenSize)...)...))
	f.Add(encodeOpening(opening{version: version, pod: "pod"}))
	f.Fuzz(func(t *testing.T, data []byte) {
		if fr, err := decodeFrame(data); err == nil {
			if again := encodeFrame(fr.kind, fr.number, fr.payload...); !bytes.Equal(again, data) {
				t.Errorf("%x decoded and encoded is %x", data, again)
			}
		}
		if o, err := decodeOpening(data); err == nil && !bytes.Equal(encodeOpening(o), data) {
			t.Errorf("%x is not what %+v encodes to", data, o)
		}
	})
}

// FuzzDeliver throws messages at a conn: whatever they are, it keeps no more
// than its window.
func FuzzDeliver(f *testing.F) {
	f.Add([]byte("\x05\x01\x05\x02\x06\x10\x07\x00"), true)
	f.Add([]byte("\x04\x00\x05\xff\x05\xff\x08\x00"), false)
	f.Fuzz(func(t *testing.T, script []byte, dialed bool) {
		c, err := New(Options{Broker: noBroker{}, Pod: "pod", Prefix: "p."})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		pool := &c.lines
		cn := newConn(c, &line{Line: noLine{}, pool: pool, conns: map[*conn]struct{}{}}, "p.self", "peer")
		cn.dialed = dialed
		first := kindReady
		var open []byte
		if dialed {
			first, open = kindAccept, append([]byte{version}, make([]byte, tokenSize)...)
		}
		cn.Deliver(encodeFrame(first, 0, open...))
		number := uint64(1)
		for ; len(script) >= 2; script = script[2:] {
			k, n := kind(script[0]), int(script[1])
			payload := make([]byte, n*n)
			if k == kindCredit {
				payload = []byte{0, byte(n), 0, 0}
			}
			cn.Deliver(encodeFrame(k, number, payload...))
			number++
		}
		cn.Deliver(script)
		cn.mu.Lock()
		defer cn.mu.Unlock()
		kept := 0
		for _, p := range cn.unread {
			kept += cost(headerSize + len(p))
		}
		if kept > Window || cn.credit > Window && cn.err == nil {
			t.Errorf("keeps %d bytes and may send %d, the window is %d", kept, cn.credit, Window)
		}
	})
}
