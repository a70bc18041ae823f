// Package rawagent holds many links of agents open with next to no cost of its
// own, so that what an edge spends on idle ones can be measured. It says no more
// than the protocols ask of an agent that is never called. It decides nothing;
// its edge is the benchmark's, and trusted.
package rawagent

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/coder/websocket"
	"github.com/coder/websocket/wsjson"
	"golang.org/x/sync/errgroup"

	"github.com/getbindu/bindu-edge/internal/wire"
)

// Options configure a Crowd. All are required.
type Options struct {
	Edge     string // host:port
	Protocol string // wire.ProtocolH2 or wire.ProtocolJSON
	// Agents From to From+Count-1 get an address of 127.0.0.0/8 for each
	// PerAddress of them, since an edge limits what one address may have.
	From, Count int
	PerAddress  int
}

// Crowd are agents that wait. Make it with New.
type Crowd struct{ opts Options }

// New makes a Crowd. It connects nowhere.
func New(o Options) *Crowd { return &Crowd{opts: o} }

// dialling bounds how many handshakes run at once.
const dialling = 32

// Run links all agents, calls linked once when the last is, and serves until ctx
// ends or the first link does, which is an error.
func (c *Crowd) Run(ctx context.Context, linked func()) error {
	group, ctx := errgroup.WithContext(ctx)
	turn := make(chan struct{}, dialling)
	up := make(chan struct{}, c.opts.Count)
	group.Go(func() error {
		for i := range c.opts.Count {
			select {
			case turn <- struct{}{}:
			case <-ctx.Done():
				return nil
			}
			group.Go(func() error {
				err := c.agent(ctx, c.opts.From+i, func() { <-turn; up <- struct{}{} })
				if ctx.Err() != nil {
					return nil
				}
				return fmt.Errorf("agent %d: %w", c.opts.From+i, err)
			})
		}
		return nil
	})
	group.Go(func() error {
		for range c.opts.Count {
			select {
			case <-up:
			case <-ctx.Done():
				return nil
			}
		}
		linked()
		return nil
	})
	return group.Wait()
}

// agent links one and serves it until it ends.
func (c *Crowd) agent(ctx context.Context, number int, linked func()) error {
	return Serve(ctx, One{Edge: c.opts.Edge, Protocol: c.opts.Protocol, Address: Address(number / c.opts.PerAddress)}, linked)
}

// One is a single agent.
type One struct {
	Edge     string // host:port
	Protocol string // wire.ProtocolH2 or wire.ProtocolJSON
	Address  net.IP // its own; nil = any
	// Tunnel and Token are its credentials; empty: it asks for a tunnel.
	Tunnel, Token string
}

// Serve links an agent, calls linked once, and serves until the link ends. There
// is always an error.
func Serve(ctx context.Context, o One, linked func()) error {
	dialer := net.Dialer{Timeout: 10 * time.Second}
	if o.Address != nil {
		dialer.LocalAddr = &net.TCPAddr{IP: o.Address}
	}
	client := &http.Client{Transport: &http.Transport{DialContext: dialer.DialContext, DisableKeepAlives: true}}
	address, header := "http://"+o.Edge+"/ws", http.Header{wire.HeaderInstance: {rand.Text()}}
	if o.Tunnel != "" {
		address += "/" + o.Tunnel
		header.Set(wire.HeaderToken, o.Token)
	}
	ws, _, err := websocket.Dial(ctx, address, &websocket.DialOptions{
		HTTPClient: client, Subprotocols: []string{o.Protocol}, HTTPHeader: header,
	})
	if err != nil {
		return err
	}
	defer func() { _ = ws.CloseNow() }() // the link is over by then
	if o.Protocol == wire.ProtocolJSON {
		return waitJSON(ctx, ws, linked, o.Tunnel != "")
	}
	return waitH2(websocket.NetConn(ctx, ws, websocket.MessageBinary), linked)
}

// Address is the n-th address, from 127.1.0.1 on.
func Address(n int) net.IP {
	ip := net.IPv4(127, 1, 0, 0).To4()
	binary.BigEndian.PutUint32(ip, binary.BigEndian.Uint32(ip)+uint32(n)+1)
	return ip
}

// waitJSON answers pings. The link is up once the edge has told the tunnel; to
// an agent that knows it, it tells nothing.
func waitJSON(ctx context.Context, ws *websocket.Conn, linked func(), up bool) error {
	if up {
		linked()
	}
	for {
		var message struct {
			Type string `json:"type"`
		}
		err := wsjson.Read(ctx, ws, &message)
		switch {
		case err != nil:
		case message.Type == wire.TypeConnected && !up:
			up = true
			linked()
		case message.Type == wire.TypePing:
			message.Type = wire.TypePong
			err = wsjson.Write(ctx, ws, message)
		default:
			err = fmt.Errorf("unexpected message %q", message.Type)
		}
		if err != nil {
			return err
		}
	}
}

// HTTP/2 as an idle server needs it (RFC 9113, sections 3.4, 4.1 and 6).
const (
	preface       = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
	frameHead     = 9
	frameSettings = 4
	framePing     = 6
	frameGoAway   = 7
	flagAck       = 1
	maxFrame      = 16 << 10 // SETTINGS_MAX_FRAME_SIZE as long as we don't raise it
)

// waitH2 acknowledges settings and pings. The link is up once the edge has
// acknowledged ours.
func waitH2(conn net.Conn, linked func()) error {
	hello := make([]byte, len(preface))
	if _, err := io.ReadFull(conn, hello); err != nil {
		return err
	}
	if string(hello) != preface {
		return errors.New("not HTTP/2")
	}
	if _, err := conn.Write(frame(frameSettings, 0, settings())); err != nil {
		return err
	}
	head := make([]byte, frameHead)
	payload := make([]byte, 64)
	for up := false; ; {
		if _, err := io.ReadFull(conn, head); err != nil {
			return err
		}
		size := int(head[0])<<16 | int(head[1])<<8 | int(head[2])
		if size > maxFrame {
			return fmt.Errorf("a frame of %d bytes", size)
		}
		if size > len(payload) {
			payload = make([]byte, size)
		}
		if _, err := io.ReadFull(conn, payload[:size]); err != nil {
			return err
		}
		var err error
		switch kind, ack := head[3], head[4]&flagAck != 0; {
		case kind == frameSettings && ack:
			if !up {
				up = true
				linked()
			}
		case kind == frameSettings:
			_, err = conn.Write(frame(frameSettings, flagAck, nil))
		case kind == framePing && !ack:
			_, err = conn.Write(frame(framePing, flagAck, payload[:size]))
		case kind == frameGoAway:
			err = errors.New("the edge says goodbye")
		}
		if err != nil {
			return err
		}
	}
}

// frame is one frame of stream 0.
func frame(kind, flags byte, payload []byte) []byte {
	n := len(payload)
	return append([]byte{byte(n >> 16), byte(n >> 8), byte(n), kind, flags, 0, 0, 0, 0}, payload...)
}

// settings are those that an agent should set, as far as the edge minds them:
// SETTINGS_MAX_CONCURRENT_STREAMS (3).
func settings() []byte {
	return binary.BigEndian.AppendUint32([]byte{0, 3}, wire.MaxStreams+wire.ControlStreams)
}
