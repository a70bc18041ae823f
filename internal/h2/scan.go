package h2

import "encoding/binary"

// Frame types and flags of RFC 9113, section 6.
const (
	frameData         = 0
	frameHeaders      = 1
	frameReset        = 3
	frameSettings     = 4
	frameGoaway       = 7
	frameWindowUpdate = 8

	flagEndStream = 1 // of DATA and HEADERS
)

const (
	frameHeaderSize = 9
	prefaceSize     = 24 // which is no frame: section 3.4
)

// scanner finds the frames in one direction of a connection, however its bytes are
// cut (RFC 9113, section 4.1).
type scanner struct {
	head [frameHeaderSize]byte // of the current frame
	have int                   // how much of it is there
	left int                   // of the payload
}

// next takes some of p. It says whether that completes a frame's head, or else is
// part of the current frame's payload.
func (s *scanner) next(p []byte) (payload, rest []byte, begun bool) {
	if s.left > 0 {
		n := min(s.left, len(p))
		s.left -= n
		return p[:n], p[n:], false
	}
	n := copy(s.head[s.have:], p)
	if s.have += n; s.have < frameHeaderSize {
		return nil, nil, false
	}
	s.have, s.left = 0, int(s.head[0])<<16|int(s.head[1])<<8|int(s.head[2])
	return nil, p[n:], true
}

func (s *scanner) kind() byte     { return s.head[3] }
func (s *scanner) flags() byte    { return s.head[4] }
func (s *scanner) stream() uint32 { return binary.BigEndian.Uint32(s.head[5:]) &^ (1 << 31) }
