package edge

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"time"

	"github.com/getbindu/bindu-edge/internal/certs"
	"github.com/getbindu/bindu-edge/internal/config"
	"github.com/getbindu/bindu-edge/internal/flood"
	"github.com/getbindu/bindu-edge/internal/hub"
	"github.com/getbindu/bindu-edge/internal/ingress"
	"github.com/getbindu/bindu-edge/internal/pressure"
	"github.com/getbindu/bindu-edge/internal/resolve"
	"github.com/getbindu/bindu-edge/internal/tunnel"
)

const (
	// maxHeader is the limit of a request's header; net/http adds 4 KiB of its own.
	maxHeader = 64 << 10
	// headerTime is for a request's header, and before it for the TLS handshake.
	headerTime = 10 * time.Second
)

// listenPublic opens what the public comes in by. A connection is TCP, then the
// load balancer's PROXY header, then TLS, then HTTP, as far as each is wanted.
func (e *Edge) listenPublic(given net.Listener) error {
	cfg := e.cfg
	if cfg.TLSCertFile != "" {
		var err error
		e.certs, err = certs.Open(certs.Options{Cert: cfg.TLSCertFile, Key: cfg.TLSKeyFile, Logger: e.log})
		if err != nil {
			return &config.SettingError{Name: "TLS_CERT_FILE", Msg: err.Error()}
		}
	}
	all := &crowd{limit: int64(cfg.MaxConnections), refused: e.refusals.connections}
	var behind *balancer
	if cfg.ProxyProtocol {
		behind = &balancer{proxies: cfg.TrustedProxies, log: e.log}
	}
	listen := func(setting string, port int) (net.Listener, error) {
		l := net.ListenConfig{}
		made, err := l.Listen(context.Background(), "tcp", net.JoinHostPort(cfg.Host, strconv.Itoa(port)))
		if config.NotThisHost(err) {
			return nil, &config.SettingError{Name: "HOST", Msg: "not an address of this machine: use one that is, or 0.0.0.0 for all: " + err.Error()}
		}
		if err != nil {
			return nil, cantListen(setting, err)
		}
		return made, nil
	}
	if given == nil {
		var err error
		if given, err = listen("PORT", cfg.Port); err != nil {
			return err
		}
	}
	e.public = &publicListener{Listener: given, crowd: all, balancer: behind, stall: cfg.CallerStall}
	if cfg.RedirectHTTPPort != 0 {
		l, err := listen("REDIRECT_HTTP_PORT", cfg.RedirectHTTPPort)
		if err != nil {
			_ = e.public.Close()
			return err
		}
		e.redirect = &publicListener{Listener: l, crowd: all, balancer: behind}
	}
	return nil
}

func (e *Edge) publicServer() *http.Server {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	if e.certs != nil {
		protocols.SetHTTP2(true) // by ALPN; agents ask for HTTP/1.1, which their WebSocket needs
	} else {
		protocols.SetUnencryptedHTTP2(true) // by prior knowledge, as gRPC callers use it
	}
	return &http.Server{
		Handler:                      handlers(e.ingress),
		TLSConfig:                    e.publicTLS(),
		Protocols:                    protocols,
		ReadHeaderTimeout:            headerTime,
		ConnState:                    connState, // and no IdleTimeout, see between
		MaxHeaderBytes:               maxHeader - 4096,
		DisableGeneralOptionsHandler: true,
		ConnContext:                  connContext,
		ErrorLog:                     slog.NewLogLogger(e.log.Handler(), slog.LevelDebug),
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams:          250,
			MaxReceiveBufferPerStream:     uploadWindow,
			MaxReceiveBufferPerConnection: connectionWindow,
		},
	}
}

// publicTLS is nil without a certificate. Of TLS 1.2 only what has forward secrecy
// and authenticated encryption is left; TLS 1.3 has nothing else.
func (e *Edge) publicTLS() *tls.Config {
	if e.certs == nil {
		return nil
	}
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		GetCertificate: e.certs.GetCertificate,
		CipherSuites: []uint16{
			tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
			tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
			tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
		},
	}
}

func (e *Edge) redirectServer() *http.Server {
	return &http.Server{
		Handler: newRedirect(e.cfg, e.health), ReadHeaderTimeout: headerTime, ReadTimeout: headerTime, WriteTimeout: headerTime,
		MaxHeaderBytes: maxHeader - 4096, DisableGeneralOptionsHandler: true, ConnContext: connContext,
		ErrorLog: slog.NewLogLogger(e.log.Handler(), slog.LevelDebug),
	}
}

// caller is where a request comes from.
func (e *Edge) caller(r *http.Request) netip.Addr { return ingress.ClientAddr(r, e.cfg.TrustedProxies) }

// misses lets a caller who has missed too often ask for what is known.
type misses struct {
	*flood.Callers
	slugs   *resolve.Resolver
	refused func()
}

func (m misses) Check(r *http.Request, slug tunnel.Slug) error {
	err := m.Callers.Check(r)
	if err != nil && m.slugs.Knows(slug) {
		return nil
	}
	if err != nil {
		m.refused()
	}
	return err
}

// roomy lets no tunnel in while memory is short.
type roomy struct {
	*hub.Hub
	pressure *pressure.Gauge
	refused  func()
}

func (h roomy) Room(id tunnel.ID) error {
	if h.pressure.High() {
		h.refused()
		return errMemory
	}
	return h.Hub.Room(id)
}

// short refuses what other pods send on while memory is.
type short struct{ refused func() }

func (s short) RoundTrip(r *http.Request) (*http.Response, error) {
	s.refused()
	if r.Body != nil {
		_ = r.Body.Close()
	}
	return nil, errMemory
}
