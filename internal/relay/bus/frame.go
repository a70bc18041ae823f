package bus

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Messages. The first one goes to a pod's inbox:
//
//	open    1, version, token (16 bytes), the opener's pod id
//
// All others are frames of one connection, numbered in their direction from 0:
//
//	kind (1 byte), number (8 bytes, big endian), then by kind
//	accept  version, token (16 bytes)  the first frame of the pod that was asked,
//	refuse  reason (1 byte)            or this one, which is its last
//	ready   nothing                    the first frame of the pod that asked
//	data    1 byte or more
//	credit  4 bytes, big endian        so much more may be sent
//	fin     nothing                    the last frame: all was sent
//	abort   nothing                    the last frame: something is missing
//
// Tokens travel, subjects don't, so no message makes a pod publish elsewhere
// than below the prefix.
type kind byte

const (
	kindOpen kind = iota + 1
	kindAccept
	kindRefuse
	kindReady
	kindData
	kindCredit
	kindFin
	kindAbort
)

const (
	version    = 1
	headerSize = 9
	maxPayload = MaxFrame - headerSize
)

// reason is why an opening was refused.
type reason byte

const (
	refusedBusy reason = iota + 1
	refusedVersion
	refusedClosed
)

func (r reason) String() string {
	switch r {
	case refusedBusy:
		return "it has too many connections"
	case refusedVersion:
		return "it speaks another version"
	case refusedClosed:
		return ErrLeaving.Error()
	}
	return fmt.Sprintf("reason %d", byte(r))
}

var errNoFrame = errors.New("not a frame of this protocol")

type opening struct {
	version byte
	from    token
	pod     string
}

func encodeOpening(o opening) []byte {
	b := append([]byte{byte(kindOpen), o.version}, o.from[:]...)
	return append(b, o.pod...)
}

func decodeOpening(data []byte) (opening, error) {
	const fixed = 2 + tokenSize
	if len(data) < fixed || len(data) > fixed+maxPodID || kind(data[0]) != kindOpen {
		return opening{}, errNoFrame
	}
	o := opening{version: data[1], pod: string(data[fixed:])}
	copy(o.from[:], data[2:])
	return o, nil
}

// frame is a decoded frame; payload is part of what was decoded.
type frame struct {
	kind    kind
	number  uint64
	payload []byte

	token  token  // accept
	reason reason // refuse
	credit int    // credit
}

func decodeFrame(data []byte) (frame, error) {
	if len(data) < headerSize || len(data) > MaxFrame {
		return frame{}, errNoFrame
	}
	f := frame{kind: kind(data[0]), number: binary.BigEndian.Uint64(data[1:]), payload: data[headerSize:]}
	rest := len(f.payload)
	var ok bool
	switch f.kind {
	case kindAccept:
		if ok = rest == 1+tokenSize && f.payload[0] == version; ok {
			copy(f.token[:], f.payload[1:])
		}
	case kindRefuse:
		if ok = rest == 1; ok {
			f.reason = reason(f.payload[0])
		}
	case kindData:
		ok = rest > 0
	case kindCredit:
		if ok = rest == 4; ok {
			f.credit = int(binary.BigEndian.Uint32(f.payload))
			ok = f.credit > 0 && f.credit <= Window
		}
	case kindReady, kindFin, kindAbort:
		ok = rest == 0
	}
	if !ok {
		return frame{}, errNoFrame
	}
	return f, nil
}

// putHeader writes the header into the first bytes of b.
func putHeader(b []byte, k kind, number uint64) {
	b[0] = byte(k)
	binary.BigEndian.PutUint64(b[1:], number)
}

func encodeFrame(k kind, number uint64, payload ...byte) []byte {
	b := make([]byte, headerSize, headerSize+len(payload))
	putHeader(b, k, number)
	return append(b, payload...)
}

// cost is what a data frame of n bytes takes of the window.
func cost(n int) int { return n + FrameCost }
