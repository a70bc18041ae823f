// Package traceparent reads and writes the fields by which a trace goes from one
// process to the next: W3C Trace Context, section 3. It decides what is valid and
// never what is recorded. It is used at both ends of a link, so it is part of the
// agent's library; what it reads is untrusted.
package traceparent

import (
	"encoding/hex"
	"net/http"
	"strings"

	"go.opentelemetry.io/otel/trace"
)

// The fields, in their canonical form.
const (
	Field = "Traceparent"
	State = "Tracestate"
)

// maxState bounds a tracestate, in bytes (section 3.3.1.5 asks for at least that).
const maxState = 512

const (
	length  = 55 // of version 00
	sampled = length - 1
)

// Valid follows section 3.2.
func Valid(values []string) bool {
	if len(values) != 1 {
		return false
	}
	s := values[0]
	if len(s) < length || s[2] != '-' || s[35] != '-' || s[52] != '-' {
		return false
	}
	version, traceID, parent, flags := s[:2], s[3:35], s[36:52], s[53:55]
	if !isHex(version) || !isHex(traceID) || !isHex(parent) || !isHex(flags) || version == "ff" {
		return false
	}
	if len(s) > length && (version == "00" || s[length] != '-') {
		return false
	}
	return strings.Trim(traceID, "0") != "" && strings.Trim(parent, "0") != ""
}

func isHex(s string) bool {
	for i := range len(s) {
		if c := s[i]; !('0' <= c && c <= '9' || 'a' <= c && c <= 'f') {
			return false
		}
	}
	return true
}

// Sampled reports whether a header has a valid traceparent that says that its
// trace is recorded.
func Sampled(h http.Header) bool {
	values := h[Field]
	if len(values) != 1 || len(values[0]) < length {
		return false
	}
	switch values[0][sampled] { // the lowest bit of the flags
	case '1', '3', '5', '7', '9', 'b', 'd', 'f':
		return Valid(values)
	}
	return false
}

// Parse is the remote span that a header tells of, if it is valid. A tracestate
// that is not, or is longer than 512 bytes, is left out.
func Parse(h http.Header) (trace.SpanContext, bool) {
	values := h[Field]
	if !Valid(values) {
		return trace.SpanContext{}, false
	}
	s := values[0]
	c := trace.SpanContextConfig{Remote: true}
	var flags [1]byte
	_, _ = hex.Decode(c.TraceID[:], []byte(s[3:35])) // they are hexadecimal
	_, _ = hex.Decode(c.SpanID[:], []byte(s[36:52]))
	_, _ = hex.Decode(flags[:], []byte(s[53:55]))
	c.TraceFlags = trace.TraceFlags(flags[0]) & known
	if text := state(h); text != "" {
		if parsed, err := trace.ParseTraceState(text); err == nil {
			c.TraceState = parsed
		}
	}
	return trace.NewSpanContext(c), true
}

// known are the flags that we can vouch for (W3C Trace Context Level 2, section
// 3.2.2.5): sampled, and that the trace id is random.
const known = 0x03

// state is the tracestate in one line; empty when there is none or it is too long.
func state(h http.Header) string {
	values := h[State]
	switch len(values) {
	case 0:
		return ""
	case 1:
		if len(values[0]) > maxState {
			return ""
		}
		return values[0]
	}
	size := len(values) - 1
	for _, v := range values {
		size += len(v)
	}
	if size > maxState {
		return ""
	}
	return strings.Join(values, ",")
}

// Format is the traceparent of a span.
func Format(c trace.SpanContext) string {
	traceID, spanID := c.TraceID(), c.SpanID()
	text := append(make([]byte, 0, length), "00-"...)
	text = append(hex.AppendEncode(text, traceID[:]), '-')
	text = append(hex.AppendEncode(text, spanID[:]), '-')
	return string(hex.AppendEncode(text, []byte{byte(c.TraceFlags()) & known}))
}

// Set makes a span the parent of whatever is done for the request of this header.
func Set(h http.Header, c trace.SpanContext) {
	h[Field] = []string{Format(c)}
	if s := c.TraceState(); s.Len() > 0 {
		h[State] = []string{s.String()}
	} else {
		delete(h, State)
	}
}
