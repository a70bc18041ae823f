package e2e

import (
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"net/http"
	"path/filepath"
	"testing"

	"github.com/getbindu/bindu-edge/test/ca"
)

// authority issues the certificates of one test.
type authority struct {
	*ca.Authority
	file string // its certificate, PEM
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{ca.New(t), filepath.Join(t.TempDir(), "ca.crt")}
	ca.Write(t, a.file, a.PEM)
	return a
}

// keyPair is where a certificate and its key are.
type keyPair struct{ cert, key string }

func newKeyPair(t *testing.T) keyPair {
	dir := t.TempDir()
	return keyPair{filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")}
}

// issue writes a certificate for this machine and for a wildcard.
func (a *authority) issue(t *testing.T, to keyPair, serial int64) {
	t.Helper()
	a.Issue(t, x509.Certificate{
		SerialNumber: big.NewInt(serial), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"localhost", "*.tunnels.example"},
	}).Write(t, to.cert, to.key)
}

// caller makes a client that believes a, and speaks HTTP/2 if so wanted.
func (a *authority) caller(t *testing.T, http2 bool) *http.Client {
	t.Helper()
	protocols := new(http.Protocols)
	protocols.SetHTTP1(!http2)
	protocols.SetHTTP2(http2)
	tr := &http.Transport{
		Protocols: protocols, DisableCompression: true, TLSClientConfig: &tls.Config{RootCAs: a.Roots},
	}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, CheckRedirect: client.CheckRedirect}
}

// serveTLS is the environment of a pod that shows the certificate.
func serveTLS(p keyPair) []string {
	return []string{"TLS_CERT_FILE=" + p.cert, "TLS_KEY_FILE=" + p.key}
}
