package relay

import (
	"crypto/x509"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/getbindu/bindu-edge/test/ca"
)

// authorityOf signs certificates.
type authorityOf struct{ *ca.Authority }

func newAuthority(t testing.TB) *authorityOf {
	t.Helper()
	return &authorityOf{ca.New(t)}
}

// files are those of one pod.
type files struct{ cert, key, authority string }

// issue writes a certificate signed by a, valid for life from now, and trust as
// the authority that the pod believes.
func (a *authorityOf) issue(t testing.TB, f files, life time.Duration, trust *authorityOf) {
	t.Helper()
	a.Issue(t, x509.Certificate{NotAfter: time.Now().Add(life)}).Write(t, f.cert, f.key)
	ca.Write(t, f.authority, trust.PEM)
}

func newFiles(t testing.TB) files {
	dir := t.TempDir()
	return files{filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key"), filepath.Join(dir, "ca.crt")}
}

func (f files) identity(t testing.TB) *Identity {
	t.Helper()
	i, err := NewCertificates(f.cert, f.key, f.authority)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

// pod is an identity by a fresh certificate of a, that trusts a.
func (a *authorityOf) pod(t testing.TB) *Identity {
	f := newFiles(t)
	a.issue(t, f, time.Hour, a)
	return f.identity(t)
}

// meetTCP is meet over TCP: in TLS both ends may be writing at the same time.
func meetTCP(t testing.TB, dialler, listener *Identity) (dialled, accepted error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	var both sync.WaitGroup
	both.Go(func() {
		raw, err := l.Accept()
		if err != nil {
			t.Error(err)
			return
		}
		conn, err := listener.accept(t.Context(), raw, holder, nil)
		if accepted = err; err == nil {
			_ = conn.Close()
		}
	})
	raw, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	conn, dialled := dialler.dial(t.Context(), raw, door, holder)
	if dialled == nil {
		_ = conn.Close()
	}
	both.Wait()
	return dialled, accepted
}

func TestCertificates(t *testing.T) {
	t.Parallel()
	a, b := newAuthority(t), newAuthority(t)
	expired, mixed := newFiles(t), newFiles(t)
	a.issue(t, expired, -time.Minute, a)
	b.issue(t, mixed, time.Hour, a) // believes a, and is none of a's
	for _, row := range []struct {
		name              string
		dialler, listener *Identity
		dialled, accepted error
	}{
		{"one authority", a.pod(t), a.pod(t), nil, nil},
		{"two authorities", b.pod(t), a.pod(t), ErrUnproven, errAny},
		{"a dialler of another authority", mixed.identity(t), a.pod(t), errAny, ErrUnproven},
		{"a listener of another authority", a.pod(t), mixed.identity(t), ErrUnproven, errAny},
		{"an expired dialler", expired.identity(t), a.pod(t), errAny, ErrUnproven},
		{"an expired listener", a.pod(t), expired.identity(t), ErrUnproven, errAny},
		{"a dialler by secret", secret(t, ours), a.pod(t), errAny, ErrUnproven},
		{"a listener by secret", a.pod(t), secret(t, ours), ErrUnproven, errAny},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			if dialled, accepted := meetTCP(t, row.dialler, row.listener); !is(dialled, row.dialled) || !is(accepted, row.accepted) {
				t.Errorf("dialled: %v, accepted: %v", dialled, accepted)
			}
		})
	}
}

// A dialler without any certificate is refused.
func TestACertificateIsAskedFor(t *testing.T) {
	t.Parallel()
	none := secret(t, ours)
	none.own.Certificate = nil
	if dialled, accepted := meetTCP(t, none, newAuthority(t).pod(t)); dialled == nil || accepted == nil {
		t.Errorf("dialled: %v, accepted: %v", dialled, accepted)
	}
}

// Renewed files count for the next connection; files that can't be read don't.
func TestRenewedCertificates(t *testing.T) {
	t.Parallel()
	before, after := newAuthority(t), newAuthority(t)
	here, there := newFiles(t), newFiles(t)
	before.issue(t, here, time.Hour, before)
	before.issue(t, there, time.Hour, before)
	near, far := here.identity(t), there.identity(t)
	// As if a second had passed: the files are looked at again.
	later := func() {
		for _, i := range []*Identity{near, far} {
			i.certs.Expect()
		}
	}
	meets := func(when string, want bool) {
		t.Helper()
		later()
		if dialled, accepted := meetTCP(t, near, far); (dialled == nil) != want || (accepted == nil) != want {
			t.Errorf("%s: dialled: %v, accepted: %v", when, dialled, accepted)
		}
	}
	meets("at first", true)
	after.issue(t, here, time.Hour, after)
	meets("one is renewed", false)
	after.issue(t, there, time.Hour, after)
	meets("both are renewed", true)
	for _, path := range []string{here.key, there.cert, here.authority} {
		good, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, good[:len(good)/2], 0o600); err != nil {
			t.Fatal(err)
		}
	}
	meets("half-written", true)
	if err := os.Remove(there.key); err != nil {
		t.Fatal(err)
	}
	meets("on its way", true)
}

func TestNewCertificatesNeedsThem(t *testing.T) {
	t.Parallel()
	good, a := newFiles(t), newAuthority(t)
	a.issue(t, good, time.Hour, a)
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		name string
		files
		ok bool
	}{
		{"all", good, true},
		{"no certificate", files{empty + "?", good.key, good.authority}, false},
		{"no key", files{good.cert, empty, good.authority}, false},
		{"no authority", files{good.cert, good.key, empty + "?"}, false},
		{"an authority without certificate", files{good.cert, good.key, empty}, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			if _, err := NewCertificates(row.cert, row.key, row.authority); (err == nil) != row.ok {
				t.Errorf("got %v", err)
			}
		})
	}
}
