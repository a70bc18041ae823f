package link

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/getbindu/bindu-edge/internal/fault"
	"github.com/getbindu/bindu-edge/internal/wire"
)

// response makes what the caller gets of a, which is not compressed. Its body
// may use the bytes of a. An error means that the answer can't be used: a 502
// for this caller, and nothing for the others.
func (a *answer) response(req *http.Request) (*http.Response, error) {
	status, ok := statusOf(a.status)
	if !ok {
		return nil, badAnswer("The agent answered with a status that is none.", nil)
	}
	header, err := headerOf(a.headers)
	if err != nil {
		return nil, err
	}
	body, isJSON, err := a.content()
	if err != nil {
		return nil, err
	}
	if isJSON && header["Content-Type"] == nil {
		header.Set("Content-Type", "application/json")
	}
	length := header["Content-Length"]
	delete(header, "Content-Length")
	res := &http.Response{
		Status: strconv.Itoa(status) + " " + http.StatusText(status), StatusCode: status,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: header, Request: req,
	}
	switch {
	case status == http.StatusNoContent || status == http.StatusNotModified:
		// No content whatever the agent says, and no length of it: RFC 9110,
		// sections 8.6 and 15.4.5.
		body = nil
	case req.Method == http.MethodHead && len(body) == 0:
		// The length is that of what GET would give, and only the agent knows it.
		res.ContentLength = -1
		if n, ok := lengthOf(length); ok {
			res.ContentLength = n
			header["Content-Length"] = length[:1]
		}
	default:
		if status == http.StatusResetContent {
			body = nil // RFC 9110, section 15.3.6
		}
		res.ContentLength = int64(len(body))
		header.Set("Content-Length", strconv.Itoa(len(body)))
	}
	if req.Method == http.MethodHead {
		body = nil
	}
	if a.inflated > 0 { // enough for the header as well, and what the body lies in
		a.kept.Shrink(max(a.inflated, int64(cap(body))))
	}
	res.Body = a.kept.Body(req.Context(), header, body)
	return res, nil
}

// statusOf takes a whole number however JSON writes it: 200, 200.0 and 2e2 are
// the same (RFC 8259, section 6).
func statusOf(number []byte) (int, bool) {
	f, err := strconv.ParseFloat(string(number), 64)
	if err != nil || f != math.Trunc(f) || f < 200 || f > 599 {
		return 0, false
	}
	return int(f), true
}

func lengthOf(values []string) (int64, bool) {
	if len(values) != 1 {
		return 0, false
	}
	n, err := strconv.ParseUint(values[0], 10, 63)
	return int64(n), err == nil
}

// content decodes the body. isJSON says that it is a JSON value which was not
// wrapped in a string.
func (a *answer) content() (body []byte, isJSON bool, err error) {
	encoding := ""
	if a.encoding != nil {
		encoding = string(appendUnquoted(nil, a.encoding))
	}
	if encoding != "" && encoding != "text" && encoding != "base64" {
		return nil, false, badAnswer("The agent answered with an unknown body_encoding.", nil)
	}
	if a.body == nil {
		return nil, false, nil
	}
	if a.body[0] != '"' {
		if encoding == "base64" {
			return nil, false, badAnswer("The agent answered with a body that is no base64.", nil)
		}
		var compact bytes.Buffer
		if err := json.Compact(&compact, a.body); err != nil {
			return nil, false, badAnswer("The agent answered with a body that is no JSON.", err)
		}
		return compact.Bytes(), true, nil
	}
	text := appendUnquoted(a.body[:0], a.body)
	if encoding != "base64" {
		return text, false, nil
	}
	body = make([]byte, base64.StdEncoding.DecodedLen(len(text)))
	n, err := base64.StdEncoding.Decode(body, text)
	if err != nil {
		return nil, false, badAnswer("The agent answered with a body that is no base64.", err)
	}
	return body[:n], false, nil
}

// hopByHop are the fields that say something about one connection (RFC 9110,
// section 7.6.1), with those that a proxy must not pass on besides.
var hopByHop = []string{
	"Connection", "Proxy-Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization",
	"Te", "Trailer", "Transfer-Encoding", "Upgrade",
}

// fieldSize is what a field counts beside its text (RFC 9113, section 6.5.2).
const fieldSize = 32

// headerOf converts the headers of a response. One that can't be sent spoils
// the answer: to leave it out could change what the rest means.
func headerOf(object []byte) (http.Header, error) {
	header := http.Header{}
	if object == nil {
		return header, nil
	}
	var err error
	size := 0 // as on links and hops that speak HTTP/2
	add := func(name string, quoted []byte) {
		value := strings.Trim(wire.FieldBytes(string(appendUnquoted(nil, quoted))), " \t")
		if size += len(name) + len(value) + fieldSize; size > wire.MaxResponseHeader {
			err = badAnswer(fmt.Sprintf("The agent answered with a header of more than %d bytes.", wire.MaxResponseHeader), nil)
			return
		}
		if !httpguts.ValidHeaderFieldValue(value) {
			err = badAnswer(fmt.Sprintf("The agent answered with a header field %s that can't be sent.", name), nil)
			return
		}
		header[name] = append(header[name], value)
	}
	for name, value := range members(object) {
		if !httpguts.ValidHeaderFieldName(name) {
			return nil, badAnswer("The agent answered with a header field whose name can't be sent.", nil)
		}
		name = http.CanonicalHeaderKey(name)
		switch kindOf(value) {
		case '"':
			add(name, value)
		case '[':
			for v := range elements(value) {
				if kindOf(v) == '"' && err == nil {
					add(name, v)
				}
			}
		}
		if err != nil {
			return nil, err
		}
	}
	dropHopByHop(header)
	return header, nil
}

// dropHopByHop also drops what Connection names.
func dropHopByHop(header http.Header) {
	for _, line := range header["Connection"] {
		for name := range strings.SplitSeq(line, ",") {
			if name = strings.TrimSpace(name); name != "" {
				header.Del(name)
			}
		}
	}
	for _, name := range hopByHop {
		delete(header, name)
	}
}

func badAnswer(detail string, cause error) error {
	return fault.Wrap(fault.BadAgentResponse, detail, cause)
}
