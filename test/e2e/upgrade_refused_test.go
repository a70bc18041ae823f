package e2e

import (
	"net/http"
	"strconv"
	"testing"
)

// An upgrade that the origin declines, or does not even look at, is answered
// like any request: to the end.
func TestDeclinedUpgradeIsWhole(t *testing.T) {
	t.Parallel()
	content := noise(3 << 20) // more than any window holds
	w := startWorld(t, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		status, _ := strconv.Atoi(r.URL.Path[1:])
		rw.WriteHeader(status)
		_, _ = rw.Write(content)
	}))
	for _, status := range []int{200, 403} {
		c := dialRaw(t, w.edge)
		c.send(w.on("GET", "/"+strconv.Itoa(status), "Connection: Upgrade", "Upgrade: websocket",
			"Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="))
		if got := c.answer("GET"); got.StatusCode != status || got.body != string(content) {
			t.Errorf("got %d with %d bytes, want %d with %d", got.StatusCode, len(got.body), status, len(content))
		}
	}
}
