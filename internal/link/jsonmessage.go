package link

import (
	"bytes"
	"encoding/json"
	"unicode/utf8"

	"github.com/coder/websocket"

	"github.com/getbindu/bindu-edge/internal/h2"
	"github.com/getbindu/bindu-edge/internal/wire"
)

// violation is a breach of the JSON protocol that ends the link.
type violation struct {
	kind string               // for the count: letters and underscores
	code websocket.StatusCode // RFC 6455, section 7.4.1
	text string               // for the agent; at most 123 bytes with the reason in front
}

func (v *violation) Error() string { return v.text }

func badMessage(kind, text string) *violation {
	return &violation{kind: kind, code: websocket.StatusPolicyViolation, text: text}
}

// answer is a response message. Each field is of the right JSON type and means
// nothing yet; nil = absent or null.
type answer struct {
	id         string
	status     []byte // a number
	headers    []byte // an object of strings and arrays of strings
	body       []byte // any value
	encoding   []byte // a string
	compressed bool
	data       []byte // a string

	kept     *h2.Kept // what counts it; nil = nothing does
	inflated int64    // its size, if it was compressed
}

// drop lets go of an answer that nobody gets.
func (a *answer) drop() { _ = a.kept.Close() }

// detach gives a its own copy of what is needed of the message.
func (a *answer) detach() {
	a.status, a.headers, a.body = bytes.Clone(a.status), bytes.Clone(a.headers), bytes.Clone(a.body)
	a.encoding, a.data = bytes.Clone(a.encoding), bytes.Clone(a.data)
}

// parseMessage reads a message of an agent: its type, and, if that is
// "response", its fields, which are parts of message.
//
// It is strict, as a message that is not what both sides think it is may be
// meant for somebody else: names are compared as they are, a known field of the
// wrong JSON type is a violation, whatever the others say. A null counts as
// absent and unknown fields are skipped. Of a field that stands twice the last
// one counts, as in the languages that agents are written in.
func parseMessage(message []byte) (kind string, a answer, bad *violation) {
	if !utf8.Valid(message) {
		return "", a, &violation{"message_utf8", websocket.StatusInvalidFramePayloadData, "the message is not UTF-8"}
	}
	if !json.Valid(message) {
		return "", a, badMessage("message_not_json", "the message is not JSON")
	}
	message = message[skipSpace(message, 0):]
	if kindOf(message) != '{' {
		return "", a, badMessage("message_not_object", "the message is not a JSON object")
	}
	for name, value := range members(message) {
		if name == "type" {
			if kind = ""; kindOf(value) == '"' {
				kind = string(appendUnquoted(nil, value))
			}
		}
	}
	switch kind {
	case wire.TypePing, wire.TypePong:
		return kind, a, nil
	case wire.TypeResponse:
		a, bad = parseAnswer(message)
		return kind, a, bad
	default:
		return "", a, badMessage("message_type", "the message has no type that an agent may send")
	}
}

func parseAnswer(message []byte) (a answer, bad *violation) {
	hasID := false
	for name, value := range members(message) {
		kind := kindOf(value)
		var want byte
		switch name {
		case "request_id", "body_encoding", "data":
			want = '"'
		case "status":
			want = '0'
		case "headers":
			want = '{'
		case "compressed":
			want = 't'
		case "body":
			want = kind
		default:
			continue
		}
		if kind == 'n' {
			value = nil
		} else if kind != want || name == "headers" && !areHeaders(value) {
			return a, badMessage("message_field", "the field "+name+" of a response has the wrong JSON type")
		}
		switch name {
		case "request_id":
			if hasID = value != nil; hasID {
				a.id = string(appendUnquoted(nil, value))
			}
		case "status":
			a.status = value
		case "headers":
			a.headers = value
		case "body":
			a.body = value
		case "body_encoding":
			a.encoding = value
		case "compressed":
			a.compressed = value != nil && value[0] == 't'
		case "data":
			a.data = value
		}
	}
	switch {
	case !hasID:
		return a, badMessage("message_field", "a response lacks request_id")
	case a.compressed && a.data == nil:
		return a, badMessage("message_field", "a compressed response lacks data")
	case !a.compressed && a.status == nil:
		return a, badMessage("message_field", "a response lacks status")
	}
	return a, nil
}

// areHeaders checks the types only; whether they can be sent is another matter.
func areHeaders(object []byte) bool {
	for _, value := range members(object) {
		switch kindOf(value) {
		case '"', 'n':
		case '[':
			for v := range elements(value) {
				if k := kindOf(v); k != '"' && k != 'n' {
					return false
				}
			}
		default:
			return false
		}
	}
	return true
}
