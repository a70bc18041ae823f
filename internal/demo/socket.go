package demo

import (
	"context"
	"net/http"
	"time"

	"github.com/coder/websocket"
)

const (
	// maxMessage is the largest WebSocket message that is echoed, in bytes. A
	// larger one closes the socket with 1009.
	maxMessage = 1 << 20
	// maxSession ends a socket that somebody forgot.
	maxSession = time.Hour
	// maxWrite is how long a caller may leave an echo unread.
	maxWrite = 30 * time.Second
)

// socket returns every message as it came, text as text and binary as binary.
// It works for as long as the caller does, at most maxSession.
func socket(w http.ResponseWriter, r *http.Request) {
	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{
		// The echo holds no secret and knows no session, so a page of any
		// origin may open it.
		InsecureSkipVerify: true,
	})
	if err != nil {
		return // Accept has answered
	}
	defer conn.CloseNow() //nolint:errcheck // what can be told was told by echoMessages
	conn.SetReadLimit(maxMessage)
	ctx, cancel := context.WithTimeout(r.Context(), maxSession)
	defer cancel()
	echoMessages(ctx, conn)
}

func echoMessages(ctx context.Context, conn *websocket.Conn) {
	for {
		kind, message, err := conn.Read(ctx)
		if err != nil {
			return // Read has answered a close frame or a message too large
		}
		writing, cancel := context.WithTimeout(ctx, maxWrite)
		err = conn.Write(writing, kind, message)
		cancel()
		if err != nil {
			return
		}
	}
}
