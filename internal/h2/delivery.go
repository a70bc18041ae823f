package h2

import (
	"errors"
	"strings"
)

// streamError has the shape of the HTTP/2 library's own error for a reset
// stream, which it fills through errors.As (RFC 9113, section 5.4.2).
type streamError struct {
	StreamID uint32
	Code     uint32
	Cause    error
}

func (e streamError) Error() string { return "stream reset" }

const codeRefusedStream = 7 // RFC 9113, section 7: not processed at all

// gotGoaway is how net/http names, by text only, a stream that lies above the
// last one that the agent's GOAWAY promises to process. A test pins the text.
const gotGoaway = "received Server's graceful shutdown GOAWAY"

// isRefused reports whether err proves that the agent never processed the
// request although its header may have been sent.
func isRefused(err error) bool {
	if se, ok := errors.AsType[streamError](err); ok {
		return se.Code == codeRefusedStream
	}
	return strings.Contains(err.Error(), gotGoaway)
}
