package attach

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"

	"github.com/getbindu/bindu-edge/internal/fault"
	"github.com/getbindu/bindu-edge/internal/wire"
)

// upgrading reports whether r asks for a WebSocket at all.
func upgrading(r *http.Request) bool {
	return wire.HasToken(r.Header.Values("Upgrade"), "websocket")
}

// checkHandshake refuses what the WebSocket library would refuse (RFC 6455,
// section 4.2.1), but before the tunnel is claimed, and in our words.
func checkHandshake(r *http.Request) error {
	bad := func(detail string) error { return fault.New(fault.BadRequest, detail) }
	switch {
	case r.ProtoMajor != 1 || r.ProtoMinor < 1:
		return bad("Agents connect by WebSocket over HTTP/1.1.")
	case !upgrading(r) || !wire.HasToken(r.Header.Values("Connection"), "upgrade"):
		return bad("Agents connect by WebSocket: Connection and Upgrade are missing.")
	case r.Header.Get("Sec-WebSocket-Version") != "13":
		e := fault.New(fault.BadRequest, "The WebSocket's version is not 13.")
		e.Header = http.Header{"Sec-Websocket-Version": {"13"}} // RFC 6455, section 4.4
		return e
	}
	key, err := base64.StdEncoding.DecodeString(strings.TrimSpace(r.Header.Get("Sec-WebSocket-Key")))
	if err != nil || len(key) != 16 || len(r.Header.Values("Sec-WebSocket-Key")) != 1 {
		return bad("The WebSocket's key is not 16 bytes in base64.")
	}
	return nil
}

// checkOrigin keeps web pages from opening tunnels without credentials at an
// edge that their visitor can reach. With credentials no page can: a browser
// lets nobody set the token's field.
func checkOrigin(r *http.Request) error {
	origin := r.Header.Get("Origin")
	if origin == "" {
		return nil
	}
	if u, err := url.Parse(origin); err == nil && strings.EqualFold(u.Host, r.Host) {
		return nil
	}
	return fault.New(fault.Forbidden, "Web pages of other origins can't open tunnels.")
}
