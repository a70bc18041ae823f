package relay

import (
	"context"
	"net"
	"net/http"

	"github.com/getbindu/bindu-edge/internal/h2"
	"github.com/getbindu/bindu-edge/internal/wire"
)

// counted is conn as net/http serves it: one whose requests' bodies count, if
// anything bounds them.
func (s *Server) counted(conn *peerConn) net.Conn {
	if s.opts.Budget == nil {
		return conn
	}
	return s.opts.Budget.Serve(conn, uploadWindow)
}

// proven is the connection under what net/http serves.
func proven(conn net.Conn) (*peerConn, bool) {
	if served, ok := conn.(*h2.Served); ok {
		conn, _ = served.Carrier.(net.Conn)
	}
	c, ok := conn.(*peerConn)
	return c, ok
}

type servedKey struct{}

// withServed lets requests find their connection.
func withServed(ctx context.Context, conn net.Conn) context.Context {
	if served, ok := conn.(*h2.Served); ok {
		return context.WithValue(ctx, servedKey{}, served)
	}
	return ctx
}

// count returns r with a body that counts until it is closed or read. What was sent
// on of a request whose body is cut has its context ended, and release does that.
func count(r *http.Request) (counted *http.Request, release func()) {
	served, ok := r.Context().Value(servedKey{}).(*h2.Served)
	if !ok || r.ContentLength == 0 {
		return r, func() {}
	}
	ctx, end := context.WithCancelCause(r.Context())
	out := r.WithContext(ctx)
	asked := r.Header.Get(wire.HeaderExpect) != ""
	out.Body = served.Body(r.Body, r.ContentLength, asked, func() { end(h2.ErrNotTaken) })
	return out, func() {
		_ = out.Body.Close()
		end(nil)
	}
}
