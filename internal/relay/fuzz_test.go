package relay

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"net"
	"testing"

	"github.com/getbindu/bindu-edge/internal/tunnel"
)

// Whoever does not know the secret gets in with no bytes at all, before the TLS
// handshake or after it, and is told nothing.
func FuzzAccept(f *testing.F) {
	f.Add(false, []byte("GET / HTTP/1.1\r\n\r\n"))
	f.Add(false, []byte{22, 3, 1, 0, 5, 1, 0, 0, 1, 3})
	f.Add(true, hello(door, holder, make([]byte, sha256.Size)))
	f.Add(true, hello("", "", make([]byte, sha256.Size)))
	f.Add(true, []byte{helloVersion, 255})
	f.Add(true, []byte{helloVersion + 1})
	i := secret(f, ours)
	f.Fuzz(func(t *testing.T, inTLS bool, b []byte) {
		raw, result := accepting(t, i)
		conn := raw
		if inTLS {
			tlsConn, err := stranger(t, raw, nil)
			if err != nil {
				t.Fatal(err)
			}
			conn = tlsConn
		}
		answer := make(chan []byte)
		go func() {
			got, _ := io.ReadAll(conn)
			answer <- got
		}()
		_, _ = conn.Write(b)
		_ = raw.Close()
		if err := result(); err == nil {
			t.Error("accepted")
		}
		if got := <-answer; inTLS && len(got) > 1 {
			t.Errorf("told %q", got)
		}
	})
}

// Names of any kind are read back as they were written, and no two pairs of them
// have one proof.
func FuzzNames(f *testing.F) {
	f.Add("door-1", "holder-1", "door-1h", "older-1")
	f.Add("", "a", "a", "")
	i := secret(f, ours)
	e := make([]byte, exporterSize)
	f.Fuzz(func(t *testing.T, a, b, c, d string) {
		for _, s := range []string{a, b, c, d} {
			if len(s) > maxPodID {
				near, far := net.Pipe()
				if _, err := i.dial(t.Context(), near, tunnel.PodID(s), holder); err == nil || errors.Is(err, ErrUnproven) {
					t.Errorf("a name of %d bytes: %v", len(s), err)
				}
				_ = far.Close()
				return
			}
			name, err := readName(bytes.NewReader(append([]byte{byte(len(s))}, s...)))
			if err != nil || string(name) != s {
				t.Errorf("%q was read as %q, %v", s, name, err)
			}
		}
		one, other := i.proof(roleDialler, tunnel.PodID(a), tunnel.PodID(b), e), i.proof(roleDialler, tunnel.PodID(c), tunnel.PodID(d), e)
		if bytes.Equal(one, other) != (a == c && b == d) {
			t.Errorf("%q and %q, %q and %q", a, b, c, d)
		}
	})
}
