package edge

import (
	"encoding/binary"
	"math"
	"net"
	"net/http"
	"sync"
	"time"
)

const (
	// idleTime is how long a connection of the public may be open without a request.
	idleTime = 2 * time.Minute
	// idleGrace is how long the end takes to reach the caller over HTTP/2, and what
	// it has asked until then to come here.
	idleGrace = time.Second
)

// idle ends a connection on which nobody asks anything. It stands for net/http's
// clock (http.Server.IdleTimeout), which a connection over HTTP/2 that ends with a
// request under way sets once more: so all of it stayed in memory for as long,
// with the up to 1,000 requests whose turn had not come.
type idle struct {
	mu    sync.Mutex
	conn  net.Conn // as net/http has it: with TLS
	timer *time.Timer
	waits bool // no request is under way
	http2 bool
	told  bool // the caller knows that it ends
}

// goAway allows all that is asked before it is heard (RFC 9113, section 6.8).
var goAway = func() []byte {
	frame := make([]byte, 9+8)
	frame[2] = 8 // bytes after the frame's header: the last stream and NO_ERROR
	frame[3] = 7 // GOAWAY
	binary.BigEndian.PutUint32(frame[9:], math.MaxInt32)
	return frame
}()

// connState is for http.Server.ConnState.
func connState(conn net.Conn, state http.ConnState) {
	if c := publicOf(conn); c == nil {
		return
	} else if state == http.StateIdle {
		c.idle.begin(conn)
	} else {
		c.idle.end() // whether in use, given to somebody else or closed
	}
}

func (i *idle) begin(conn net.Conn) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.conn, i.waits = conn, true
	wait := idleTime
	if i.told {
		wait = idleGrace
	}
	if i.timer == nil {
		i.timer = time.AfterFunc(wait, i.over)
		return
	}
	i.timer.Reset(wait)
}

// end returns when nothing is written on the connection by over.
func (i *idle) end() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.waits = false
	if i.timer != nil {
		i.timer.Stop()
	}
}

func (i *idle) over() {
	i.mu.Lock()
	defer i.mu.Unlock()
	if !i.waits {
		return
	}
	i.timer.Reset(idleGrace) // until net/http has closed it
	if i.http2 && !i.told {
		i.told = true
		// Without a stream the server writes whole frames at once, if any, so this
		// comes between two. A caller who reads nothing must not hold it up.
		_ = i.conn.SetWriteDeadline(time.Now().Add(idleGrace))
		_, err := i.conn.Write(goAway)
		_ = i.conn.SetWriteDeadline(time.Time{})
		if err == nil {
			return
		}
	}
	// Not Close: net/http gives a request that has just begun time of its own.
	_ = i.conn.SetReadDeadline(time.Unix(1, 0))
}

// goodbyes notes which connections speak HTTP/2, where a caller can be told.
func goodbyes(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor == 2 {
			if c, ok := r.Context().Value(publicConnKey{}).(*publicConn); ok {
				c.idle.mu.Lock()
				c.idle.http2 = true
				c.idle.mu.Unlock()
			}
		}
		h.ServeHTTP(w, r)
	})
}
