package relay

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/getbindu/bindu-edge/internal/tunnel"
)

func TestPeersProveThemselves(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name              string
		dialler, listener string
		wanted            tunnel.PodID
		dialled, accepted error // nil = no error
	}{
		{"one secret", ours, ours, holder, nil, nil},
		{"two secrets", theirs, ours, holder, ErrUnproven, ErrUnproven},
		{"a secret that begins alike", ours + "!", ours, holder, ErrUnproven, ErrUnproven},
		{"another pod has the address", ours, ours, "holder-0", ErrGone, errAny},
		{"a stranger learns nothing of who is here", theirs, ours, "holder-0", ErrUnproven, ErrUnproven},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			near, far, dialled, accepted := meet(t, secret(t, row.dialler), secret(t, row.listener), row.wanted)
			if !is(dialled, row.dialled) || !is(accepted, row.accepted) {
				t.Fatalf("dialled: %v, accepted: %v", dialled, accepted)
			}
			if dialled != nil {
				return
			}
			if near.pod != holder || far.pod != door {
				t.Errorf("they know each other as %q and %q", near.pod, far.pod)
			}
			go func() { _, _ = near.Write([]byte("hello")) }()
			if _, err := io.ReadFull(far, make([]byte, 5)); err != nil {
				t.Error(err)
			}
			_ = near.Close()
			_ = far.Close()
			<-near.Done()
			if near.Err() == nil {
				t.Error("it ended without a reason")
			}
		})
	}
}

// errAny stands for any error, and errOther for any but what a hop acts on.
var errAny, errOther = errors.New("any"), errors.New("any but those of the package")

func is(err, want error) bool {
	switch {
	case errors.Is(want, errAny):
		return err != nil
	case errors.Is(want, errOther):
		return err != nil && !errors.Is(err, ErrGone) && !errors.Is(err, ErrUnproven)
	}
	return errors.Is(err, want)
}

func TestNewSecret(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name   string
		length int
		ok     bool
	}{{"none", 0, false}, {"too short", MinSecret - 1, false}, {"just enough", MinSecret, true}, {"long", 1 << 12, true}} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			if _, err := NewSecret(strings.Repeat("x", row.length)); (err == nil) != row.ok {
				t.Errorf("got %v", err)
			} else if err != nil && strings.Contains(err.Error(), "xx") {
				t.Errorf("the error tells the secret: %v", err)
			}
		})
	}
}

func TestLongNamesAreRefused(t *testing.T) {
	t.Parallel()
	near, far := net.Pipe()
	if _, err := secret(t, ours).dial(t.Context(), near, door, tunnel.PodID(strings.Repeat("x", maxPodID+1))); err == nil {
		t.Error("a name that does not fit was sent")
	}
	if _, err := far.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the connection goes on: %v", err)
	}
}

// accepting runs accept at the far end of a connection.
func accepting(t testing.TB, i *Identity) (near net.Conn, result func() error) {
	t.Helper()
	near, far := net.Pipe()
	done := make(chan error, 1)
	go func() {
		conn, err := i.accept(t.Context(), far, holder, nil)
		if err == nil {
			_ = conn.Close()
		}
		done <- err
	}()
	return near, func() error { return <-done }
}

func TestOnlyHopsAreSpoken(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name   string
		change func(*tls.Config)
		want   error
	}{
		{"TLS 1.2", func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS12, tls.VersionTLS12 }, errAny},
		{"another protocol", func(c *tls.Config) { c.NextProtos = []string{"h2"} }, errAny},
		{"no protocol", func(c *tls.Config) { c.NextProtos = nil }, ErrUnproven},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			i := secret(t, ours)
			raw, result := accepting(t, i)
			defer func() { _ = raw.Close() }()
			if conn, err := stranger(t, raw, row.change); err == nil {
				// The secret alone does not open the door.
				state := conn.ConnectionState()
				e, err := state.ExportKeyingMaterial("EXPORTER-Channel-Binding", nil, exporterSize)
				if err != nil {
					t.Fatal(err)
				}
				_, _ = conn.Write(hello(door, holder, i.proof(roleDialler, door, holder, e)))
				_, _ = io.Copy(io.Discard, conn) // until the other side closes it
			}
			if err := result(); !is(err, row.want) {
				t.Errorf("accepted: %v", err)
			}
		})
	}
}

// hello is what the dialler says first, with whatever proof.
func hello(dialler, listener tunnel.PodID, proof []byte) []byte {
	b := append([]byte{helloVersion, byte(len(dialler))}, dialler...)
	return append(append(append(b, byte(len(listener))), listener...), proof...)
}

// What was a proof on one connection is none on another, in another role or for
// other names.
func TestProofsCantBeUsedAgain(t *testing.T) {
	t.Parallel()
	i := secret(t, ours)
	other := bytes.Repeat([]byte{7}, exporterSize) // the exporter of another connection
	for _, row := range []struct {
		name string
		say  func(exporter []byte) []byte
		want error
	}{
		{"the proof itself", func(e []byte) []byte { return hello(door, holder, i.proof(roleDialler, door, holder, e)) }, nil},
		{"replayed from another connection", func([]byte) []byte { return hello(door, holder, i.proof(roleDialler, door, holder, other)) }, ErrUnproven},
		{"reflected: a listener's", func(e []byte) []byte { return hello(door, holder, i.proof(roleListener, door, holder, e)) }, ErrUnproven},
		{"of another dialler", func(e []byte) []byte { return hello("door-2", holder, i.proof(roleDialler, door, holder, e)) }, ErrUnproven},
		{"for another listener", func(e []byte) []byte { return hello(door, holder, i.proof(roleDialler, door, "holder-0", e)) }, ErrUnproven},
		{"names shifted", func(e []byte) []byte { return hello("door-1h", "older-1", i.proof(roleDialler, door, holder, e)) }, ErrUnproven},
		{"one bit off", func(e []byte) []byte {
			b := hello(door, holder, i.proof(roleDialler, door, holder, e))
			b[len(b)-1] ^= 1
			return b
		}, ErrUnproven},
		{"of zeros", func([]byte) []byte { return hello(door, holder, make([]byte, sha256.Size)) }, ErrUnproven},
		{"another version", func(e []byte) []byte {
			b := hello(door, holder, i.proof(roleDialler, door, holder, e))
			b[0]++
			return b
		}, ErrUnproven},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			raw, result := accepting(t, i)
			defer func() { _ = raw.Close() }()
			conn, err := stranger(t, raw, nil)
			if err != nil {
				t.Fatal(err)
			}
			e, err := exporter(conn)
			if err != nil {
				t.Fatal(err)
			}
			go func() { _, _ = conn.Write(row.say(e)) }()
			answer, _ := io.ReadAll(conn) // the other side closes it
			if err := result(); !is(err, row.want) {
				t.Fatalf("accepted: %v", err)
			}
			if row.want != nil && len(answer) > 1 {
				t.Errorf("who proved nothing was told %d bytes", len(answer))
			}
		})
	}
}

// listening answers a dialler's hello with whatever it likes.
func listening(t testing.TB, raw net.Conn, answer func(hello, exporter []byte) []byte) {
	t.Helper()
	config, err := secret(t, theirs).config()
	if err != nil {
		t.Error(err)
		return
	}
	conn := tls.Server(raw, config)
	defer func() { _ = raw.Close() }()
	if err := conn.HandshakeContext(t.Context()); err != nil {
		t.Error(err)
		return
	}
	e, err := exporter(conn)
	if err != nil {
		t.Error(err)
		return
	}
	said := make([]byte, len(hello(door, holder, nil))+sha256.Size)
	if _, err := io.ReadFull(conn, said); err != nil {
		t.Error(err)
		return
	}
	_, _ = conn.Write(answer(said, e))
}

// A listener that does not know the secret can't make the dialler believe it.
func TestDiallersBelieveNoStranger(t *testing.T) {
	t.Parallel()
	i := secret(t, ours)
	for _, row := range []struct {
		name   string
		answer func(hello, exporter []byte) []byte
		want   error
	}{
		{"the proof itself", func(_, e []byte) []byte { return append([]byte{helloOK}, i.proof(roleListener, door, holder, e)...) }, nil},
		{"the dialler's own, reflected", func(h, _ []byte) []byte { return append([]byte{helloOK}, h[len(h)-sha256.Size:]...) }, ErrUnproven},
		{"of another pair", func(_, e []byte) []byte {
			return append([]byte{helloOK}, i.proof(roleListener, "door-2", holder, e)...)
		}, ErrUnproven},
		{"made up", func([]byte, []byte) []byte { return make([]byte, 1+sha256.Size) }, ErrUnproven},
		{"half a proof", func(_, e []byte) []byte {
			return append([]byte{helloOK}, i.proof(roleListener, door, holder, e)[:8]...)
		}, errAny},
		{"another pod's, which has the address now", func(_, e []byte) []byte {
			return append([]byte{helloStranger}, i.proof(roleStranger, door, holder, e)...)
		}, ErrGone},
		{"a stranger's, that the pod is gone", func([]byte, []byte) []byte {
			return append([]byte{helloStranger}, make([]byte, sha256.Size)...)
		}, ErrUnproven},
		{"that the pod is gone, with its own proof", func(_, e []byte) []byte {
			return append([]byte{helloStranger}, i.proof(roleListener, door, holder, e)...)
		}, ErrUnproven},
		{"the proof of another pod as its own", func(_, e []byte) []byte {
			return append([]byte{helloOK}, i.proof(roleStranger, door, holder, e)...)
		}, ErrUnproven},
		{"that the pod is gone, and no proof", func([]byte, []byte) []byte { return []byte{helloStranger} }, errOther},
		{"an answer that means nothing", func([]byte, []byte) []byte { return []byte{99} }, ErrUnproven},
		{"nothing", func([]byte, []byte) []byte { return nil }, errAny},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			near, far := net.Pipe()
			var serving sync.WaitGroup
			serving.Go(func() { listening(t, far, row.answer) })
			conn, err := i.dial(t.Context(), near, door, holder)
			if !is(err, row.want) {
				t.Errorf("dialled: %v", err)
			}
			if err == nil {
				_ = conn.Close()
			}
			serving.Wait()
		})
	}
}

// Somebody in the middle has a TLS connection with each side and hands the proofs
// on as they come: neither side believes the other, since the exporters differ.
func TestProofsCantBeSpliced(t *testing.T) {
	t.Parallel()
	i := secret(t, ours)
	near, middle := net.Pipe()
	onward, result := accepting(t, i)
	var serving sync.WaitGroup
	serving.Go(func() {
		listening(t, middle, func(said, _ []byte) []byte {
			conn, err := stranger(t, onward, nil)
			if err != nil {
				t.Error(err)
				return nil
			}
			go func() { _, _ = conn.Write(said) }()
			answer, _ := io.ReadAll(conn)
			return answer
		})
	})
	if _, err := i.dial(t.Context(), near, door, holder); !errors.Is(err, ErrUnproven) {
		t.Errorf("dialled: %v", err)
	}
	if err := result(); !errors.Is(err, ErrUnproven) {
		t.Errorf("accepted: %v", err)
	}
	serving.Wait()
	_ = onward.Close()
}

// Whatever stands at the other end, dialling ends with its context.
func TestProvingEndsWithItsContext(t *testing.T) {
	t.Parallel()
	why := errors.New("enough")
	for _, dial := range []bool{true, false} {
		near, far := net.Pipe()
		ctx, cancel := context.WithCancelCause(t.Context())
		done := make(chan error, 1)
		i := secret(t, ours)
		go func() {
			var err error
			if dial {
				_, err = i.dial(ctx, near, door, holder)
			} else {
				_, err = i.accept(ctx, near, holder, nil)
			}
			done <- err
		}()
		cancel(why)
		if err := <-done; !errors.Is(err, why) {
			t.Errorf("got %v", err)
		}
		if _, err := io.Copy(io.Discard, far); err != nil {
			t.Errorf("the connection was not closed: %v", err)
		}
		_ = far.Close()
	}
}
