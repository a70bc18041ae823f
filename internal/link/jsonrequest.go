package link

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/getbindu/bindu-edge/internal/fault"
	"github.com/getbindu/bindu-edge/internal/wire"
)

const (
	bodyMember     = `,"body":`
	encodingMember = `,"body_encoding":"base64"`
)

// encodeRequest makes the message of a request, reading its body to the end
// unless it can't fit. The result is in buf. Errors are *fault.Errors, and are
// about this request alone.
func encodeRequest(buf []byte, req *http.Request, id string, limit int) ([]byte, error) {
	path, err := pathOf(req)
	if err != nil {
		return nil, err
	}
	buf = append(buf, `{"type":"`+wire.TypeRequest+`","request_id":"`...)
	buf = append(buf, id...) // hexadecimal
	buf = append(buf, `","method":`...)
	buf = appendQuoted(buf, req.Method)
	buf = append(buf, `,"path":`...)
	buf = appendQuoted(buf, path)
	buf = append(buf, `,"headers":{"host":`...)
	buf = appendQuoted(buf, wire.FieldText(req.Host))
	buf = appendFields(buf, req.Header)

	room := limit - len(buf) - len(`}`+bodyMember+`""}`)
	length := max(0, req.ContentLength)
	if int64(room) < length {
		return nil, tooLargeFor(limit)
	}
	body := bodies.Get().(*[]byte)
	defer func() { putBuffer(&bodies, body) }()
	size := bodySize{}
	if err := readBody(body, &size, req, room); err != nil {
		if errors.Is(err, errNoRoom) {
			return nil, tooLargeFor(limit)
		}
		return nil, err
	}
	if len(*body) > 0 || announcesLength(req) {
		buf = append(buf, `,"content-length":"`...)
		buf = strconv.AppendInt(buf, int64(len(*body)), 10)
		buf = append(buf, '"')
	}
	buf = append(buf, '}')
	buf = append(buf, bodyMember...)
	switch {
	case len(*body) == 0:
		buf = append(buf, "null"...)
	case size.binary:
		buf = append(buf, '"')
		buf = base64.StdEncoding.AppendEncode(buf, *body)
		buf = append(buf, '"')
		buf = append(buf, encodingMember...)
	default:
		buf = appendQuoted(buf, *body)
	}
	if buf = append(buf, '}'); len(buf) > limit {
		return nil, tooLargeFor(limit)
	}
	return buf, nil
}

func tooLargeFor(limit int) error {
	return fault.New(fault.RequestTooLarge, fmt.Sprintf("The agent of this tunnel takes requests of at most %d bytes, header and encoding included.", limit))
}

// pathOf is the request-target in origin-form, byte for byte.
func pathOf(req *http.Request) (string, error) {
	path := req.URL.RequestURI()
	if !strings.HasPrefix(path, "/") {
		// Opaque begins with "//": RequestURI puts the scheme in front.
		path = strings.TrimPrefix(path, req.URL.Scheme+"://"+req.URL.Host)
	}
	if path == "" {
		path = "/"
	}
	if !utf8.ValidString(path) {
		return "", fault.New(fault.BadRequest, "The path is not UTF-8, and the protocol of this tunnel has only text.")
	}
	return path, nil
}

// announcesLength reports whether the length of an empty body is worth saying:
// RFC 9110, section 8.6.
func announcesLength(req *http.Request) bool {
	switch req.Method {
	case http.MethodPost, http.MethodPut, http.MethodPatch:
		return true
	}
	return len(req.Header["Content-Length"]) > 0
}

// keptHere are the fields of a request that an agent doesn't see, besides those
// that are hop-by-hop or said in another way.
var keptHere = map[string]bool{
	// Agents unpack a compressed answer and then send its Content-Encoding on.
	"Accept-Encoding": true,
	"Content-Length":  true,
	"Host":            true,
	// The body has been read: whoever waited for a 100 has got it.
	"Expect": true,
}

// appendFields appends the members of a header object that has one already.
func appendFields(buf []byte, header http.Header) []byte {
	drop := map[string]bool{}
	for _, line := range header["Connection"] {
		for name := range strings.SplitSeq(line, ",") {
			drop[http.CanonicalHeaderKey(strings.TrimSpace(name))] = true
		}
	}
	for _, name := range hopByHop {
		drop[name] = true
	}
	for name, values := range header {
		if len(values) == 0 || drop[name] || keptHere[name] || strings.HasPrefix(name, wire.HeaderPrefix) {
			continue
		}
		separator := ", "
		switch name {
		case "Cookie":
			separator = "; " // RFC 6265, section 5.4
		case "User-Agent":
			if values[0] == "" {
				continue // a proxy's way to say that there was none
			}
		}
		buf = append(buf, ',')
		buf = appendQuoted(buf, strings.ToLower(name))
		buf = append(buf, ':')
		buf = appendQuoted(buf, wire.FieldText(strings.Join(values, separator)))
	}
	return buf
}

// readBody reads the body into *buf. It fails with errNoRoom as soon as what
// was read can't be encoded in room bytes, whatever may follow.
func readBody(buf *[]byte, size *bodySize, req *http.Request, room int) error {
	b := (*buf)[:0]
	defer func() { *buf = b }()
	if req.Body == nil || req.Body == http.NoBody {
		return nil
	}
	if want := int(max(0, req.ContentLength)) + 1; cap(b) < want {
		b = make([]byte, 0, want) // one more, to see the end without growing
	}
	for {
		if len(b) == cap(b) {
			b = append(b, 0)[:len(b)]
		}
		// No more than can fit, and one to see that there is more.
		n, err := req.Body.Read(b[len(b):min(cap(b), room+1)])
		b = b[:len(b)+n]
		size.add(b, errors.Is(err, io.EOF))
		if size.least(len(b)) > room {
			return errNoRoom
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err == nil:
		case req.Context().Err() != nil:
			return err
		default:
			if _, ok := errors.AsType[*fault.Error](err); ok {
				return err // the caller's doing, or a limit
			}
			return fault.Wrap(fault.BadRequest, "The request's body could not be read to its end.", err)
		}
	}
}

var errNoRoom = errors.New("does not fit in a message")

// bodySize is how long a body becomes in a message, without its quotes.
type bodySize struct {
	looked int  // at so many bytes
	text   int  // what they take as text
	binary bool // not UTF-8: base64 it has to be
}

// add looks at what is new in body; last says that no more comes.
func (s *bodySize) add(body []byte, last bool) {
	for s.looked < len(body) && !s.binary {
		rest := body[s.looked:]
		if c := rest[0]; c < utf8.RuneSelf {
			s.text += quotedSize(c)
			s.looked++
			continue
		}
		if !last && !utf8.FullRune(rest) {
			return
		}
		r, n := utf8.DecodeRune(rest)
		if r == utf8.RuneError && n == 1 {
			s.binary = true
			return
		}
		s.text += n
		s.looked += n
	}
}

// least is what a body that begins with these n bytes takes at least: text may
// still turn out to be none.
func (s *bodySize) least(n int) int {
	packed := base64.StdEncoding.EncodedLen(n) + len(encodingMember)
	if s.binary {
		return packed
	}
	return min(max(s.text, n), packed)
}

// Messages and bodies are gathered in buffers of these pools, never larger ones.
const maxPooled = 128 << 10

// minPooled is how much larger a buffer may be than what waits in it.
const minPooled = 4 << 10

var (
	bodies   = sync.Pool{New: func() any { return new([]byte) }}
	messages = sync.Pool{New: func() any { return new([]byte) }}
)

func putBuffer(pool *sync.Pool, b *[]byte) {
	if cap(*b) <= maxPooled {
		pool.Put(b)
	}
}
