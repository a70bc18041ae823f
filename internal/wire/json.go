package wire

import (
	"strings"
	"unicode/utf8"
)

// Types of the messages of the JSON protocol, docs/protocol.md.
const (
	TypeRequest   = "request"   // edge → agent
	TypeResponse  = "response"  // agent → edge
	TypePing      = "ping"      // both
	TypePong      = "pong"      // both
	TypeConnected = "connected" // edge → agent, ephemeral tunnels only
)

// Limits of the JSON protocol, in bytes.
const (
	// MaxJSONMessage is what one message may have as encoded, either way.
	MaxJSONMessage = 64 << 10
	// MaxInflated is what a compressed response may have when it is inflated.
	MaxInflated = 10 << 20
)

// FieldText is how a header field's value stands in a JSON message. Such a
// value is bytes, of which those above ASCII mean nothing in particular (RFC
// 9110, section 5.5), and JSON has only text: each byte is taken for the
// character of that number, as agents have always seen it, so none is lost.
func FieldText(value string) string {
	i := 0
	for i < len(value) && value[i] < utf8.RuneSelf {
		i++
	}
	if i == len(value) {
		return value
	}
	var b strings.Builder
	b.Grow(len(value) + len(value)/2)
	for j := range len(value) {
		b.WriteRune(rune(value[j]))
	}
	return b.String()
}

// FieldBytes is the reverse of FieldText. Text that holds a character above
// U+00FF never came from there: it is sent as UTF-8.
func FieldBytes(text string) string {
	i, ascii := 0, true
	for _, r := range text {
		if r > 0xff {
			return text
		}
		ascii = ascii && r < utf8.RuneSelf
		i++
	}
	if ascii {
		return text
	}
	b := make([]byte, 0, i)
	for _, r := range text {
		b = append(b, byte(r))
	}
	return string(b)
}
