package relay

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"

	"github.com/getbindu/bindu-edge/internal/certs"
)

// NewCertificates makes an Identity of a certificate, its key and the authority
// that has signed the certificates of all pods, and of nobody else: whoever it
// signed is a peer. The files (PEM) are read again when connections are made, so
// that renewed ones count at once.
func NewCertificates(cert, key, authority string) (*Identity, error) {
	if authority == "" { // nil roots would be the system's, and everybody a peer
		return nil, errors.New("certificates for hops: there is no authority")
	}
	files, err := certs.Open(certs.Options{Cert: cert, Key: key, Authority: authority})
	if err != nil {
		return nil, fmt.Errorf("certificates for hops: %w", err)
	}
	return &Identity{certs: files}, nil
}

// verify asks whether the authority has signed the far end's certificate.
func verify(s tls.ConnectionState, roots *x509.CertPool) error {
	if len(s.PeerCertificates) == 0 {
		return errors.New("the far end shows no certificate")
	}
	between := x509.NewCertPool()
	for _, c := range s.PeerCertificates[1:] {
		between.AddCert(c)
	}
	_, err := s.PeerCertificates[0].Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: between, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	})
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnproven, err)
	}
	return nil
}
