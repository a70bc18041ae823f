// Package ca is a certificate authority of one test. It decides nothing about what
// is tested, and is for tests alone.
package ca

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"testing"
	"time"
)

// Authority signs certificates.
type Authority struct {
	PEM   []byte         // its own certificate
	Roots *x509.CertPool // with nothing but that

	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// New makes an authority that is valid for an hour.
func New(t testing.TB) *Authority {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	a := &Authority{cert: template, key: newKey(t), Roots: x509.NewCertPool()}
	der := a.sign(t, template, a.key)
	var err error
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	a.PEM = block("CERTIFICATE", der)
	a.Roots.AddCert(a.cert)
	return a
}

// Pair is a certificate and its key, PEM.
type Pair struct{ Cert, Key []byte }

// Issue makes a certificate with a key of its own. What the template leaves out:
// the serial number is 2, and it is valid for an hour.
func (a *Authority) Issue(t testing.TB, template x509.Certificate) Pair {
	t.Helper()
	if template.SerialNumber == nil {
		template.SerialNumber = big.NewInt(2)
	}
	template.NotBefore = time.Now().Add(-time.Hour)
	if template.NotAfter.IsZero() {
		template.NotAfter = time.Now().Add(time.Hour)
	}
	key := newKey(t)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return Pair{block("CERTIFICATE", a.sign(t, &template, key)), block("PRIVATE KEY", private)}
}

// Write puts the pair into two files.
func (p Pair) Write(t testing.TB, cert, key string) {
	t.Helper()
	Write(t, cert, p.Cert)
	Write(t, key, p.Key)
}

// Write puts text into a file.
func Write(t testing.TB, path string, text []byte) {
	t.Helper()
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

func (a *Authority) sign(t testing.TB, template *x509.Certificate, key *ecdsa.PrivateKey) []byte {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func block(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}
