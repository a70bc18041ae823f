package relay

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"time"

	"github.com/getbindu/bindu-edge/internal/certs"
	"github.com/getbindu/bindu-edge/internal/tunnel"
)

// MinSecret is the least length of a peer secret in bytes.
const MinSecret = 32

// Identity is how a pod proves to be one of ours, and how it knows another.
//
// After the TLS 1.3 handshake the dialler names itself and the pod that it
// wants, with an HMAC-SHA256 under the secret over its role, both names and the
// connection's TLS exporter (RFC 9266); the listener answers with one of its
// own, also where it is not the one that is wanted. The exporter is another one
// in each TLS connection and no one in the middle can have the same on both
// sides, so a proof can't be replayed or spliced; the role keeps it from being
// reflected. With certificates TLS has proved both ends, and the exchange only
// tells the names.
type Identity struct {
	secret []byte
	certs  *certs.Files // nil = by secret
	own    tls.Certificate
}

// NewSecret makes an Identity of a secret that all pods share.
func NewSecret(secret string) (*Identity, error) {
	if len(secret) < MinSecret {
		return nil, fmt.Errorf("a peer secret needs at least %d bytes, this one has %d", MinSecret, len(secret))
	}
	own, err := selfSigned()
	if err != nil {
		return nil, fmt.Errorf("certificate for hops: %w", err)
	}
	return &Identity{secret: []byte(secret), own: own}, nil
}

// selfSigned makes a certificate that proves nothing: the HMAC does.
func selfSigned() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	now := time.Now()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: now.Add(-24 * time.Hour), NotAfter: now.AddDate(100, 0, 0)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}

const protocol = "bindu-hop/1" // ALPN

// config is that of either end. A peer is known by the proof or by the
// authority, never by a host name: pods come and go.
func (i *Identity) config() (*tls.Config, error) {
	c := &tls.Config{
		MinVersion: tls.VersionTLS13, NextProtos: []string{protocol},
		InsecureSkipVerify:          true, //nolint:gosec // see verify and the proofs
		DynamicRecordSizingDisabled: true, // large records: this is no browser's first paint
		SessionTicketsDisabled:      true, // each connection proves itself
		Certificates:                []tls.Certificate{i.own},
	}
	if i.certs != nil {
		set := i.certs.Current()
		c.Certificates = []tls.Certificate{set.Own}
		c.ClientAuth = tls.RequireAnyClientCert
		c.VerifyConnection = func(s tls.ConnectionState) error { return verify(s, set.Roots) }
	}
	return c, nil
}

// The roles of the proofs.
const (
	roleDialler  = "dialler"
	roleListener = "listener"
	roleStranger = "stranger" // a listener that is not the pod that was wanted
)

// errMistaken is what accept says of a pod that wants another one.
var errMistaken = errors.New("it looks for a pod that had this address before")

// The listener's answers to a hello. A proof follows all but helloUnproven, whose
// receiver has proved nothing: that a pod is gone must not be anybody's to say.
const (
	helloOK       = 0
	helloUnproven = 1 // the proof is wrong
	helloStranger = 2 // another pod was wanted: it had this address before us
)

const (
	helloVersion = 1
	maxPodID     = 255
	exporterSize = 32
)

// dial proves this pod to peer over raw, and peer to this pod. raw is closed
// when that fails.
func (i *Identity) dial(ctx context.Context, raw net.Conn, self, peer tunnel.PodID) (*peerConn, error) {
	if len(self) > maxPodID || len(peer) > maxPodID {
		_ = raw.Close()
		return nil, errors.New("a pod's id is too long for a hop")
	}
	config, err := i.config()
	if err != nil {
		_ = raw.Close()
		return nil, err
	}
	under := newRecordConn(raw)
	conn := tls.Client(under, config)
	err = guard(ctx, raw, func() error {
		if err := conn.HandshakeContext(ctx); err != nil {
			return fmt.Errorf("tls: %w", err)
		}
		exporter, err := exporter(conn)
		if err != nil {
			return err
		}
		hello := append([]byte{helloVersion, byte(len(self))}, self...)
		hello = append(append(hello, byte(len(peer))), peer...)
		if _, err := conn.Write(append(hello, i.proof(roleDialler, self, peer, exporter)...)); err != nil {
			return fmt.Errorf("send proof: %w", err)
		}
		var answer [1 + sha256.Size]byte
		if _, err := io.ReadFull(conn, answer[:1]); err != nil {
			return fmt.Errorf("read proof: %w", err)
		}
		role := roleListener
		switch answer[0] {
		case helloOK:
		case helloStranger:
			role = roleStranger
		default:
			return fmt.Errorf("%w: it says the same of us", ErrUnproven)
		}
		if _, err := io.ReadFull(conn, answer[1:]); err != nil {
			return fmt.Errorf("read proof: %w", err)
		}
		if !hmac.Equal(answer[1:], i.proof(role, self, peer, exporter)) {
			return ErrUnproven
		}
		if role == roleStranger {
			return fmt.Errorf("%w: another one has its address", ErrGone)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return newPeerConn(conn, under, peer), nil
}

// accept lets the dialler on raw prove itself, and proves this pod to it. raw is
// closed when that fails. began, if it is not nil, is called when the dialler has
// begun: it has sent a ClientHello.
func (i *Identity) accept(ctx context.Context, raw net.Conn, self tunnel.PodID, began func()) (*peerConn, error) {
	config, err := i.config()
	if err != nil {
		_ = raw.Close()
		return nil, err
	}
	if began != nil {
		config.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
			began()
			return nil, nil //nolint:nilnil // as documented: the configuration stays
		}
	}
	under := newRecordConn(raw)
	conn := tls.Server(under, config)
	var peer tunnel.PodID
	err = guard(ctx, raw, func() error {
		if err := conn.HandshakeContext(ctx); err != nil {
			return fmt.Errorf("tls: %w", err)
		}
		exporter, err := exporter(conn)
		if err != nil {
			return err
		}
		var version [1]byte
		if _, err := io.ReadFull(conn, version[:]); err != nil {
			return fmt.Errorf("read proof: %w", err)
		}
		if version[0] != helloVersion {
			return fmt.Errorf("%w: hello of version %d", ErrUnproven, version[0])
		}
		var wanted tunnel.PodID
		for _, name := range []*tunnel.PodID{&peer, &wanted} {
			if *name, err = readName(conn); err != nil {
				return fmt.Errorf("read proof: %w", err)
			}
		}
		var proof [sha256.Size]byte
		if _, err := io.ReadFull(conn, proof[:]); err != nil {
			return fmt.Errorf("read proof: %w", err)
		}
		if !hmac.Equal(proof[:], i.proof(roleDialler, peer, wanted, exporter)) {
			_, _ = conn.Write([]byte{helloUnproven})
			return ErrUnproven
		}
		if wanted != self {
			_, _ = conn.Write(append([]byte{helloStranger}, i.proof(roleStranger, peer, wanted, exporter)...))
			return fmt.Errorf("%w: pod %q wants %q", errMistaken, peer, wanted)
		}
		if _, err := conn.Write(append([]byte{helloOK}, i.proof(roleListener, peer, self, exporter)...)); err != nil {
			return fmt.Errorf("send proof: %w", err)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return newPeerConn(conn, under, peer), nil
}

// guard runs a handshake on raw, which ends with ctx, and closes raw if it fails.
func guard(ctx context.Context, raw net.Conn, handshake func() error) error {
	stop := context.AfterFunc(ctx, func() { _ = raw.Close() })
	err := handshake()
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		_ = raw.Close()
		if ctx.Err() != nil {
			return fmt.Errorf("%w: %w", context.Cause(ctx), err)
		}
	}
	return err
}

// exporter is what only the two ends of this TLS connection know (RFC 9266,
// section 2).
func exporter(conn *tls.Conn) ([]byte, error) {
	state := conn.ConnectionState()
	if state.NegotiatedProtocol != protocol {
		return nil, fmt.Errorf("%w: it speaks no %s", ErrUnproven, protocol)
	}
	key, err := state.ExportKeyingMaterial("EXPORTER-Channel-Binding", nil, exporterSize)
	if err != nil {
		return nil, fmt.Errorf("tls exporter: %w", err)
	}
	return key, nil
}

// proof is an HMAC over the role, the dialler, the listener and the exporter. The
// names go in with their length, so that no two exchanges give the same text.
func (i *Identity) proof(role string, dialler, listener tunnel.PodID, exporter []byte) []byte {
	mac := hmac.New(sha256.New, i.secret)
	for _, part := range []string{protocol, role, string(dialler), string(listener), string(exporter)} {
		_, _ = mac.Write([]byte{byte(len(part))})
		_, _ = io.WriteString(mac, part)
	}
	return mac.Sum(nil)
}

func readName(r io.Reader) (tunnel.PodID, error) {
	var size [1]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return "", err
	}
	name := make([]byte, size[0])
	if _, err := io.ReadFull(r, name); err != nil {
		return "", err
	}
	return tunnel.PodID(name), nil
}
