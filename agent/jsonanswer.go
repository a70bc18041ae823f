package agent

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/http/httpguts"

	"github.com/getbindu/bindu-edge/internal/wire"
)

// maxJSONAnswer is the largest message that every edge takes.
const maxJSONAnswer = wire.MaxJSONMessage

// requestOf makes the handler's request of a message, as a server would have
// made it of one that came over HTTP/1.1.
func requestOf(ctx context.Context, m *edgeMessage) (*http.Request, error) {
	var body []byte
	if m.Body != nil {
		body = []byte(*m.Body)
	}
	switch m.BodyEncoding {
	case "":
	case "base64":
		var err error
		if body, err = base64.StdEncoding.DecodeString(string(body)); err != nil {
			return nil, errors.New("its body is no base64")
		}
	default:
		return nil, errors.New("its body_encoding is unknown")
	}
	u, err := url.ParseRequestURI(*m.Path)
	if *m.Path == "*" && *m.Method == http.MethodOptions {
		u, err = &url.URL{Path: "*"}, nil
	}
	if err != nil || !strings.HasPrefix(*m.Path, "/") && *m.Path != "*" {
		return nil, errors.New("its path is none")
	}
	r, err := http.NewRequestWithContext(ctx, *m.Method, "/", bytes.NewReader(body))
	if err != nil {
		return nil, errors.New("its method is none")
	}
	r.URL, r.RequestURI, r.RemoteAddr = u, *m.Path, linkAddr{}.String()
	for name, value := range m.Headers {
		value = wire.FieldBytes(value)
		if !httpguts.ValidHeaderFieldName(name) || !httpguts.ValidHeaderFieldValue(value) {
			return nil, errors.New("it has a header field that is none")
		}
		if strings.EqualFold(name, "Host") {
			r.Host = value
			continue
		}
		r.Header[http.CanonicalHeaderKey(name)] = []string{value}
	}
	wire.StripPrefix(r.Header)
	r.GetBody = nil // as a server's request
	return r, nil
}

// buffered is a ResponseWriter that keeps everything until the handler is done.
type buffered struct {
	header http.Header
	sent   http.Header // as it was when it would have been sent
	status int
	body   bytes.Buffer
}

func newBuffered() *buffered { return &buffered{header: http.Header{}} }

func (w *buffered) Header() http.Header { return w.header }

func (w *buffered) WriteHeader(status int) {
	if w.status != 0 || status < 200 {
		return // interim answers have no place in this protocol
	}
	w.status, w.sent = status, w.header.Clone()
}

// errAnswerTooLarge tells a handler to stop: no edge takes so much at once.
var errAnswerTooLarge = fmt.Errorf("an answer over a JSON tunnel may have %d bytes", wire.MaxInflated)

func (w *buffered) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	if w.body.Len()+len(p) > wire.MaxInflated {
		// One byte over the limit is kept, for message to notice.
		w.body.Write(p[:max(0, wire.MaxInflated+1-w.body.Len())])
		return 0, errAnswerTooLarge
	}
	return w.body.Write(p)
}

// Flush makes handlers happy that ask for an http.Flusher.
func (w *buffered) Flush() { w.WriteHeader(http.StatusOK) }

// fail makes the answer one of ours, in plain text.
func (w *buffered) fail(status int, text string) {
	w.body.Reset()
	w.status, w.sent = status, http.Header{"Content-Type": {"text/plain; charset=utf-8"}}
	w.body.WriteString(text + "\n")
}

// serve runs the handler. One that panics has failed as a local server has that
// breaks off.
func (w *buffered) serve(h http.Handler, r *http.Request, log *slog.Logger) {
	defer func() {
		p := recover()
		if p == nil {
			return
		}
		if err, ok := p.(error); !ok || !errors.Is(err, http.ErrAbortHandler) {
			log.Error("the handler panicked", "panic", fmt.Sprint(p))
		}
		*w = buffered{header: http.Header{}}
		localUnreachable(w)
	}()
	h.ServeHTTP(w, r)
	w.WriteHeader(http.StatusOK)
	if w.body.Len() > 0 && w.sent["Content-Type"] == nil && w.sent.Get("Content-Encoding") == "" {
		w.sent.Set("Content-Type", http.DetectContentType(w.body.Bytes()))
	}
}

// responseMessage is an answer on the wire; Headers holds strings and lists of
// strings.
type responseMessage struct {
	Type         string         `json:"type"`
	RequestID    string         `json:"request_id"`
	Status       int            `json:"status"`
	Headers      map[string]any `json:"headers"`
	Body         string         `json:"body"`
	BodyEncoding string         `json:"body_encoding,omitempty"`
}

// message encodes the answer in at most limit bytes: as it is, compressed if it
// has to be, or else as a 502 that says why.
func (w *buffered) message(id string, limit int) []byte {
	if w.body.Len() > wire.MaxInflated {
		return tooLargeMessage(id, errAnswerTooLarge.Error(), limit)
	}
	m := responseMessage{Type: wire.TypeResponse, RequestID: id, Status: w.status, Headers: map[string]any{}}
	for name, values := range w.sent {
		list := make([]string, 0, len(values))
		for _, v := range values {
			// The edge refuses the whole answer for one that can't be sent; a server
			// leaves it out or mends it.
			if httpguts.ValidHeaderFieldName(name) && httpguts.ValidHeaderFieldValue(v) {
				list = append(list, wire.FieldText(v))
			}
		}
		switch len(list) {
		case 0:
		case 1:
			m.Headers[name] = list[0]
		default:
			m.Headers[name] = list
		}
	}
	if body := w.body.Bytes(); utf8.Valid(body) {
		m.Body = string(body)
	} else {
		m.Body, m.BodyEncoding = base64.StdEncoding.EncodeToString(body), "base64"
	}
	plain := encodeMessage(m)
	if len(plain) <= limit {
		return plain
	}
	if len(plain) <= wire.MaxInflated {
		if packed := compressedMessage(id, plain, limit); packed != nil {
			return packed
		}
	}
	return tooLargeMessage(id, "an answer of "+strconv.Itoa(w.body.Len())+" bytes does not fit into one message of "+strconv.Itoa(limit)+" bytes, compressed or not", limit)
}

// compressedMessage returns nil when even so it does not fit.
func compressedMessage(id string, plain []byte, limit int) []byte {
	var packed bytes.Buffer
	z := gzip.NewWriter(&atMost{to: &packed, left: base64.StdEncoding.DecodedLen(limit)})
	if _, err := z.Write(plain); err != nil {
		return nil
	}
	if err := z.Close(); err != nil {
		return nil
	}
	message := encodeMessage(struct {
		Type       string `json:"type"`
		RequestID  string `json:"request_id"`
		Compressed bool   `json:"compressed"`
		Data       []byte `json:"data"` // encoding/json makes base64 of it
	}{wire.TypeResponse, id, true, packed.Bytes()})
	if len(message) > limit {
		return nil
	}
	return message
}

// atMost fails when more is written: compressing on would be of no use.
type atMost struct {
	to   io.Writer
	left int
}

func (w *atMost) Write(p []byte) (int, error) {
	if w.left -= len(p); w.left < 0 {
		return 0, io.ErrShortWrite
	}
	return w.to.Write(p)
}

func tooLargeMessage(id, why string, limit int) []byte {
	w := newBuffered()
	w.fail(http.StatusBadGateway, "The answer is too large for this tunnel: "+why+". An agent with --protocol h2 has no such limit.")
	return w.message(id, limit)
}

// refusalMessage is the answer to a request that no handler has seen.
func refusalMessage(id, why string, limit int) []byte {
	w := newBuffered()
	w.fail(http.StatusServiceUnavailable, why)
	w.sent.Set("Retry-After", "1")
	return w.message(id, limit)
}

func encodeMessage(m any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(m) // strings, numbers and lists of them: nothing that can fail
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}
