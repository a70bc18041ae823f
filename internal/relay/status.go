package relay

import (
	"cmp"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/getbindu/bindu-edge/internal/h2"
	"github.com/getbindu/bindu-edge/internal/tunnel"
)

// PeerState is what this pod has to do with another one, as an operator sees it.
type PeerState struct {
	Pod       tunnel.PodID
	Address   string
	Connected bool      // by a connection that this pod has opened
	Since     time.Time // of that connection
	InFlight  int       // requests on it
	Unread    int64     // at most so many bytes of its answers wait for callers that don't read
	Err       error     // the last trouble with it, if that is not long ago
	ErrAt     time.Time
}

// trouble is an attempt that failed, or a connection that was lost.
type trouble struct {
	err error
	at  time.Time
}

const (
	maxTroubles = 256
	// troubleLife is how long trouble is told of: pods that are gone stay so.
	troubleLife = 10 * time.Minute
)

// trouble notes what went wrong with a pod. Client.mu is held.
func (c *Client) trouble(pod tunnel.PodID, err error, now time.Time) {
	if _, known := c.told[pod]; !known && len(c.told) >= maxTroubles {
		oldest := pod
		for p, t := range c.told {
			if o, found := c.told[oldest]; !found || t.at.Before(o.at) {
				oldest = p
			}
		}
		delete(c.told, oldest)
	}
	c.told[pod] = trouble{err, now}
}

// lost says why a connection ended that nobody had said goodbye on.
func lost(conn *h2.Conn, carrier h2.Carrier) error {
	if gaveUp, silent := conn.GaveUp(); gaveUp {
		return fmt.Errorf("the connection was given up: silent for %s", silent.Round(time.Millisecond))
	}
	return fmt.Errorf("the connection was lost: %w", cmp.Or(carrier.Err(), net.ErrClosed))
}

// Peers lists the pods that this one is connected to, and those that it had
// trouble with in the last ten minutes, in no order.
func (c *Client) Peers() []PeerState {
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	var list []PeerState
	for pod, p := range c.peers {
		if p.conn == nil {
			continue
		}
		s := PeerState{Pod: pod, Address: p.remote, Connected: true, Since: p.since, InFlight: p.conn.InFlight(), Unread: p.conn.Unread()}
		if t, ok := c.told[pod]; ok && now.Sub(t.at) < troubleLife {
			s.Err, s.ErrAt = t.err, t.at
		}
		list = append(list, s)
	}
	for pod, t := range c.told {
		if p := c.peers[pod]; (p == nil || p.conn == nil) && now.Sub(t.at) < troubleLife {
			list = append(list, PeerState{Pod: pod, Err: t.err, ErrAt: t.at})
		}
	}
	return list
}

// Unread is at most how many bytes of answers wait here for callers that don't read.
func (c *Client) Unread() (sum int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range c.peers {
		if p.conn != nil {
			sum += p.conn.Unread()
		}
	}
	return sum
}

// Inbound counts the connections of each pod that has opened one to this pod.
func (s *Server) Inbound() map[tunnel.PodID]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	counts := make(map[tunnel.PodID]int, len(s.from))
	for pod, conns := range s.from {
		counts[pod] = len(conns)
	}
	return counts
}

// state is told by net/http what becomes of a connection.
func (s *Server) state(conn net.Conn, state http.ConnState) {
	c, ok := proven(conn)
	if !ok {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch state {
	case http.StateNew:
		if s.from[c.pod] == nil {
			s.from[c.pod] = map[*peerConn]struct{}{}
		}
		s.from[c.pod][c] = struct{}{}
	case http.StateClosed, http.StateHijacked:
		delete(s.from[c.pod], c)
		if len(s.from[c.pod]) == 0 {
			delete(s.from, c.pod)
		}
	}
}
