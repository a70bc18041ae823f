package bus

// What a raw peer of the tests needs to speak the protocol.

type (
	Kind  = kind
	Token = token
)

const (
	KindAccept = kindAccept
	KindRefuse = kindRefuse
	KindReady  = kindReady
	KindData   = kindData
	KindCredit = kindCredit
	KindFin    = kindFin
	KindAbort  = kindAbort

	Version    = version
	MaxPayload = maxPayload
	HeaderSize = headerSize
	MaxLines   = maxLines
)

var EncodeFrame = encodeFrame

func EncodeOpening(v byte, from Token, pod string) []byte {
	return encodeOpening(opening{v, from, pod})
}

// Decode gives what matters of a frame.
func Decode(data []byte) (Kind, uint64, Token, error) {
	f, err := decodeFrame(data)
	return f.kind, f.number, f.token, err
}
