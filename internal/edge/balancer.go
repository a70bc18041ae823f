package edge

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/getbindu/bindu-edge/internal/proxyproto"
)

// headerTimeout is for a load balancer's PROXY header, which comes before the
// connection's first byte.
const headerTimeout = 5 * time.Second

// balancer is the TCP load balancer that public connections come through.
type balancer struct {
	proxies []netip.Prefix
	log     *slog.Logger

	mu     sync.Mutex
	warned time.Time
}

var errStranger = errors.New("the connection does not come from TRUSTED_PROXIES")

// header is what it says of one connection.
type header struct {
	from   *balancer
	once   sync.Once
	caller net.Addr // nil: it speaks for itself, or does not know
	err    error
}

// read reads the header of conn, the first time. Without one the connection is
// closed, since whose it is can't be known.
func (h *header) read(conn net.Conn) error {
	h.once.Do(func() {
		if h.err = h.readOnce(conn); h.err != nil {
			_ = conn.Close()
			h.from.warn(conn.RemoteAddr(), h.err)
		}
	})
	return h.err
}

func (h *header) readOnce(conn net.Conn) error {
	if !trusts(h.from.proxies, conn.RemoteAddr()) {
		return errStranger
	}
	if err := conn.SetReadDeadline(time.Now().Add(headerTimeout)); err != nil {
		return err
	}
	addr, err := proxyproto.Read(conn)
	if err != nil {
		return err
	}
	if addr.IsValid() {
		h.caller = net.TCPAddrFromAddrPort(addr)
	}
	return conn.SetReadDeadline(time.Time{})
}

// warn tells of a connection that was closed, once a minute: it may be a scanner,
// or a load balancer that was set up wrongly. Some of them look whether anybody
// listens, and say nothing.
func (b *balancer) warn(peer net.Addr, err error) {
	if errors.Is(err, io.EOF) {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if now := time.Now(); b.warned.IsZero() || now.Sub(b.warned) >= time.Minute {
		b.warned = now
		b.log.Warn("a connection without a usable PROXY header was closed", "peer", peer.String(), "error", err)
	}
}
