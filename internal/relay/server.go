package relay

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"

	"github.com/getbindu/bindu-edge/internal/h2"
	"github.com/getbindu/bindu-edge/internal/tunnel"
	"github.com/getbindu/bindu-edge/internal/wire"
)

// Links are what a hop can lead to: those of this pod.
type Links interface {
	// Here returns what carries requests to the tunnel's agent if that is linked
	// to this pod, or is about to be. Otherwise RoundTrip fails with
	// tunnel_offline and fault.ErrNotDelivered.
	Here(tunnel.ID) http.RoundTripper
	// Alive asks the agent of a claim of this pod whether it lives.
	Alive(context.Context, tunnel.Claim) bool
	// Moved is told that another pod has a claim's tunnel now: the same agent
	// process may finish what it has begun. It must not block.
	Moved(claim tunnel.Claim, same bool)
}

// ServerOptions configure a Server. Pod, Identity and Links are required.
type ServerOptions struct {
	Pod      tunnel.PodID
	Identity *Identity
	Links    Links
	Logger   *slog.Logger          // nil = none
	Metrics  prometheus.Registerer // nil = not registered
	Timing   bool                  // answers say how long the agent took
	Tracer   trace.Tracer          // of what the pod at the door has told of; nil = no spans
	Budget   *h2.Budget            // of what is left unread of requests' bodies too; nil = no bound
}

// Server serves the hops that lead here. Make it with NewServer.
type Server struct {
	opts   ServerOptions
	log    *slog.Logger
	served outcomes
	http   *http.Server

	newcomers newcomers
	proofs    map[newcomerOutcome]prometheus.Counter
	words     newcomerWords

	mu   sync.Mutex
	from map[tunnel.PodID]map[*peerConn]struct{} // connections that stand
}

// NewServer makes a Server.
func NewServer(o ServerOptions) *Server {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Server{opts: o, log: o.Logger, served: newServed(o.Metrics), proofs: newProofs(o.Metrics), from: map[tunnel.PodID]map[*peerConn]struct{}{}}
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true) // the TLS below it is done
	s.http = &http.Server{
		Handler:                      s,
		ConnState:                    s.state,
		ConnContext:                  withServed,
		Protocols:                    protocols,
		MaxHeaderBytes:               maxHeader,
		DisableGeneralOptionsHandler: true,
		ErrorLog:                     slog.NewLogLogger(o.Logger.Handler(), slog.LevelDebug),
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams:          maxStreams,
			MaxReadFrameSize:              wire.MaxReadFrame,
			MaxReceiveBufferPerConnection: wire.ConnectionWindow, // one stalled upload must stop no other
			MaxReceiveBufferPerStream:     uploadWindow,
			SendPingTimeout:               pingInterval,
			PingTimeout:                   pingTimeout,
		},
	}
	return s
}

// Serve lets newcomers on l prove themselves and serves their requests, until
// Shutdown or Close. It returns nil then. It closes l.
func (s *Server) Serve(l net.Listener) error {
	proven := &provenListener{Listener: l, conns: make(chan net.Conn), closed: make(chan struct{})}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	failed := make(chan error, 1)
	var newcomers sync.WaitGroup
	defer newcomers.Wait()
	defer cancel()
	newcomers.Go(func() {
		failed <- s.accept(ctx, proven, &newcomers)
		_ = proven.Close()
	})
	if err := s.http.Serve(proven); errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return <-failed
}

// Shutdown tells the other pods to send no more (GOAWAY), and returns when the
// requests of hops have ended or ctx has.
func (s *Server) Shutdown(ctx context.Context) error {
	for {
		// Each round says goodbye to those who have begun to speak since the last
		// one: http.Server would wait for them, and not tell them why.
		round, cancel := context.WithTimeout(ctx, goodbyeEvery)
		err := s.http.Shutdown(round)
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil {
			return err
		}
	}
}

const goodbyeEvery = 100 * time.Millisecond

// Close ends every connection at once.
func (s *Server) Close() error { return s.http.Close() }

// accept ends when the listener does.
func (s *Server) accept(ctx context.Context, l *provenListener, newcomers *sync.WaitGroup) error {
	wait := time.Duration(0)
	for {
		raw, err := l.Listener.Accept()
		if err != nil {
			if temporary(err) {
				// Too many open files, most likely: it passes.
				wait = min(max(5*time.Millisecond, 2*wait), time.Second)
				select {
				case <-time.After(wait):
					continue
				case <-l.closed:
				}
			}
			return err
		}
		wait = 0
		ctx, c := s.newcomers.enter(ctx, raw)
		newcomers.Go(func() {
			conn, err := s.prove(ctx, c)
			if err != nil {
				return
			}
			select {
			case l.conns <- s.counted(conn):
			case <-l.closed:
				_ = conn.Close()
			}
		})
	}
}

// prove returns the newcomer's connection once it has proved to be a pod. The
// newcomer has left by then.
func (s *Server) prove(ctx context.Context, c *newcomer) (*peerConn, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, ProofTimeout, errLate)
	defer cancel()
	conn, err := s.opts.Identity.accept(ctx, c.raw, s.opts.Pod, c.begins)
	if !s.newcomers.leave(c) && err == nil {
		_ = conn.Close()
		err = errCrowded
	}
	outcome := outcomeOf(err)
	s.proofs[outcome].Inc()
	remote := c.raw.RemoteAddr().String()
	switch {
	case err == nil:
		s.log.Debug("another pod has connected", "peer_pod_id", string(conn.pod), "remote_addr", remote)
		return conn, nil
	case s.words.due(outcome):
		s.log.Warn(outcome.word(), "remote_addr", remote, "error", err)
	case !errors.Is(err, io.EOF):
		s.log.Debug("a newcomer was turned away", "remote_addr", remote, "error", err)
	}
	return nil, err
}

func temporary(err error) bool {
	var e interface{ Temporary() bool }
	return errors.As(err, &e) && e.Temporary() && !errors.Is(err, net.ErrClosed)
}

// provenListener gives http.Server the connections whose far end is a pod.
type provenListener struct {
	net.Listener
	conns  chan net.Conn
	once   sync.Once
	closed chan struct{}
}

func (l *provenListener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.conns:
		return conn, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *provenListener) Close() error {
	var err error
	l.once.Do(func() {
		close(l.closed)
		err = l.Listener.Close()
	})
	return err
}
