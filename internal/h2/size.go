package h2

import (
	"net/http"
	"strings"

	"github.com/getbindu/bindu-edge/internal/wire"
)

// tooLarge reports whether the header is larger than an agent has to take, in
// the way of RFC 9113, section 6.5.2: 32 bytes a field more than its text.
func tooLarge(req *http.Request) bool {
	const field = 32
	size := 8*field + len(req.Method) + len(req.Host) + len(req.URL.Opaque) + len(req.URL.Path) + len(req.URL.RawQuery)
	for name, values := range req.Header {
		for _, v := range values {
			size += field + len(name) + len(v)
			if name == "Cookie" {
				size += field * strings.Count(v, ";") // each pair becomes a field
			}
		}
	}
	return size > wire.MaxRequestHeader
}
