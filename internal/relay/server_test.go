package relay

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
)

// Whoever speaks anything else gets nothing but a closed connection.
func TestStrangersGetNothing(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ name, say string }{
		{"HTTP/1.1", "GET / HTTP/1.1\r\nHost: x\r\nBindu-Hop-Tunnel: t\r\n\r\n"},
		{"HTTP/2", http2.ClientPreface + "\x00\x00\x00\x04\x00\x00\x00\x00\x00"},
		{"garbage", strings.Repeat("\xff\x00garbage", 100)},
		{"SSL 2", "\x80\x2e\x01\x00\x02" + strings.Repeat("x", 60)},
		{"nothing", ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				l, _ := served(t, text("ok"))
				raw, err := l.dial(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				defer func() { _ = raw.Close() }()
				go func() { _, _ = io.WriteString(raw, row.say) }()
				got, err := io.ReadAll(raw)
				if err != nil {
					t.Error(err)
				}
				const alert = 21 // a TLS record that only says why
				if len(got) > 0 && got[0] != alert {
					t.Errorf("it was told %q", got)
				}
			})
		})
	}
}

// A newcomer that proves nothing is closed in time, however far it has come.
func TestNoProofInTime(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name string
		say  func(*testing.T, net.Conn)
	}{
		{"nothing said", func(*testing.T, net.Conn) {}},
		{"half a handshake", func(_ *testing.T, raw net.Conn) { _, _ = raw.Write([]byte{22, 3, 1, 2, 0}) }},
		{"no hello", func(t *testing.T, raw net.Conn) {
			if _, err := stranger(t, raw, nil); err != nil {
				t.Error(err)
			}
		}},
		{"half a hello", func(t *testing.T, raw net.Conn) {
			conn, err := stranger(t, raw, nil)
			if err != nil {
				t.Error(err)
				return
			}
			_, _ = conn.Write(hello(door, holder, nil))
		}},
		{"a byte a second", func(t *testing.T, raw net.Conn) {
			conn, err := stranger(t, raw, nil)
			if err != nil {
				t.Error(err)
				return
			}
			go func() {
				for _, b := range hello(door, holder, make([]byte, 32)) {
					if _, err := conn.Write([]byte{b}); err != nil {
						return
					}
					<-time.After(time.Second)
				}
			}()
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				l, _ := served(t, text("ok"))
				began := time.Now()
				raw, err := l.dial(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				defer func() { _ = raw.Close() }()
				row.say(t, raw)
				_, _ = io.Copy(io.Discard, raw)
				if took := time.Since(began); took != 5*time.Second {
					t.Errorf("closed after %s", took)
				}
				<-time.After(time.Second) // whoever is still talking notices
			})
		})
	}
}

// Who has the wrong secret is told of once a minute, by both sides, and does not
// touch the others.
func TestAWrongSecretIsLogged(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newPipeListener()
		var here, there notes
		_, stop := serve(t, l, secret(t, ours), text("ok"), slog.New(&here))
		defer stop()
		right := client(t, l)
		defer right.Close()
		wrong := NewClient(Options{Pod: "door-2", Dialer: l, Identity: secret(t, theirs), Logger: slog.New(&there)})
		defer wrong.Close()
		for _, row := range []struct {
			wait time.Duration
			want int
		}{{0, 1}, {pause, 1}, {time.Minute - pause - 1, 1}, {1, 1}, {pause, 2}, {time.Minute - 1, 2}, {time.Hour, 3}} {
			<-time.After(row.wait)
			_, err := ask(t, wrong.To(holder, "t"))
			notMade(t, err)
			if !errors.Is(err, ErrUnproven) {
				t.Errorf("got %v", err)
			}
			answers(t, right.To(holder, "t"), "ok")
			synctest.Wait()
			if here.warnings() != row.want || there.warnings() != row.want {
				t.Errorf("after %s more: %d and %d warnings, want %d", row.wait, here.warnings(), there.warnings(), row.want)
			}
		}
	})
}

// A pod whose address another one has now is gone, and that is nobody's fault.
func TestAnotherPodHasTheAddress(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newPipeListener()
		var log notes
		_, stop := serve(t, l, secret(t, ours), text("ok"), slog.New(&log))
		defer stop()
		c := client(t, l)
		defer c.Close()
		_, err := ask(t, c.To("holder-0", "t"))
		notMade(t, err)
		if !errors.Is(err, ErrGone) {
			t.Errorf("got %v", err)
		}
		answers(t, c.To(holder, "t"), "ok")
		if n := log.warnings(); n != 0 {
			t.Errorf("%d warnings", n)
		}
	})
}

// listenerFunc is a listener whose Accept is a function.
type listenerFunc struct {
	*pipeListener
	accept func() (net.Conn, error)
}

func (l listenerFunc) Accept() (net.Conn, error) { return l.accept() }

// A listener that fails for a while is asked again; one that fails for good ends
// Serve.
func TestAcceptFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newPipeListener()
		var fails atomic.Int64
		s, stop := serve(t, listenerFunc{l, func() (net.Conn, error) {
			if fails.Add(1) <= 20 {
				return nil, &net.OpError{Op: "accept", Err: syscall.EMFILE}
			}
			return l.Accept()
		}}, secret(t, ours), text("ok"), nil)
		c := client(t, l)
		defer c.Close()
		<-time.After(20 * time.Second)
		answers(t, c.To(holder, "t"), "ok")
		_ = s.Close()
		stop()
	})
	for _, row := range []struct {
		name string
		err  error
	}{{"broken", errors.New("broken")}, {"closed by another", net.ErrClosed}} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			s := NewServer(ServerOptions{Pod: holder, Identity: secret(t, ours), Links: fakeLinks{}})
			l := listenerFunc{newPipeListener(), func() (net.Conn, error) { return nil, row.err }}
			if err := s.Serve(l); !errors.Is(err, row.err) {
				t.Errorf("Serve: %v", err)
			}
		})
	}
}

// Serve ends at once on a Server that was told to end before.
func TestServeAfterTheEnd(t *testing.T) {
	t.Parallel()
	s := NewServer(ServerOptions{Pod: holder, Identity: secret(t, ours), Links: fakeLinks{}})
	if err := s.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	l := newPipeListener()
	if err := s.Serve(l); err != nil {
		t.Error(err)
	}
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("its listener is open: %v", err)
	}
}

// Newcomers who have proved nothing yet end with the Server.
func TestCloseEndsNewcomers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newPipeListener()
		_, stop := serve(t, l, secret(t, ours), text("ok"), nil)
		raw, err := l.dial(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		synctest.Wait()
		stop()
		if _, err := raw.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("got %v", err)
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("it took %s", took)
		}
	})
}
