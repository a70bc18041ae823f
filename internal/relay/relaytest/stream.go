package relaytest

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/getbindu/bindu-edge/internal/fault"
	"github.com/getbindu/bindu-edge/internal/wire"
)

// duplex is the body of a 101.
type duplex interface {
	io.ReadWriteCloser
	CloseWrite() error
}

func upgradeRequest(t testing.TB, path string) *http.Request {
	req := request(t, http.MethodGet, path, nil)
	req.Header.Set("Connection", "Upgrade")
	req.Header.Set("Upgrade", "websocket")
	return req
}

// upgrade asks for an upgrade and must get it.
func upgradeOver(ctx context.Context, t testing.TB, way http.RoundTripper, path string) (*http.Response, duplex) {
	t.Helper()
	res, err := way.RoundTrip(upgradeRequest(t, path).WithContext(ctx))
	if err != nil {
		t.Fatal(err)
	}
	if res.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("status %d", res.StatusCode)
	}
	conn, ok := res.Body.(duplex)
	if !ok {
		t.Fatalf("the body of a 101 is a %T", res.Body)
	}
	return res, conn
}

// switching hijacks a request's connection, having accepted the upgrade.
func switching(t testing.TB, w http.ResponseWriter, r *http.Request) (io.ReadWriteCloser, *bufio.Reader) {
	if !wire.IsWebSocketUpgrade(r) {
		t.Errorf("the agent saw %s %v", r.Method, r.Header)
	}
	w.Header().Set("X-Kept", "yes")
	w.WriteHeader(http.StatusSwitchingProtocols)
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		t.Error(err)
		panic(http.ErrAbortHandler)
	}
	return conn, buffered.Reader
}

// Bytes go both ways in lock-step; the caller says its last word, and then the
// agent.
func upgrades(t *testing.T, m Mesh) {
	way := hop(t, m, func(w http.ResponseWriter, r *http.Request) {
		conn, in := switching(t, w, r)
		defer func() { _ = conn.Close() }()
		_, _ = io.WriteString(conn, "hello\n") // before the caller says anything
		if r.URL.Path == "/agent-first" {
			return
		}
		_, _ = io.Copy(conn, in)
		_, _ = io.WriteString(conn, "bye\n")
	})
	t.Run("the caller ends first", func(t *testing.T) {
		res, conn := upgradeOver(t.Context(), t, way, "/")
		defer func() { _ = conn.Close() }()
		want := http.Header{"Upgrade": {"websocket"}, "Connection": {"Upgrade"}, "X-Kept": {"yes"}}
		got := res.Header.Clone()
		got.Del("Date")
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("the 101's header, -want +got:\n%s", diff)
		}
		lines := bufio.NewReader(conn)
		expect := func(want string) {
			t.Helper()
			if line, err := lines.ReadString('\n'); line != want {
				t.Fatalf("read %q, %v, want %q", line, err, want)
			}
		}
		expect("hello\n")
		for _, line := range []string{"one\n", "two\n", "three\n"} {
			if _, err := io.WriteString(conn, line); err != nil {
				t.Fatal(err)
			}
			expect(line)
		}
		if err := conn.CloseWrite(); err != nil {
			t.Error(err)
		}
		expect("bye\n")
		if _, err := lines.ReadByte(); err != io.EOF {
			t.Errorf("the stream ended with %v, want io.EOF", err)
		}
	})
	t.Run("the agent ends first", func(t *testing.T) {
		_, conn := upgradeOver(t.Context(), t, way, "/agent-first")
		defer func() { _ = conn.Close() }()
		if got, err := io.ReadAll(conn); err != nil || string(got) != "hello\n" {
			t.Errorf("read %q, %v", got, err)
		}
		for { // the agent is gone: writing fails, if not at once
			if _, err := conn.Write(noise()[:64<<10]); err != nil {
				break
			}
		}
	})
}

func upgradeDeclined(t *testing.T, m Mesh) {
	way := hop(t, m, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Kept", "yes")
		http.Error(w, "no", http.StatusForbidden)
	})
	res := want(t, way, upgradeRequest(t, "/"), http.StatusForbidden, "no\n")
	if res.Header.Get("X-Kept") != "yes" || res.Header.Get(wire.HeaderUpgrade) != "" {
		t.Errorf("header %v", res.Header)
	}
}

// Neither end takes the other's sudden end for a clean one.
func upgradesBreak(t *testing.T, m Mesh) {
	ended := make(chan error, 1)
	way := hop(t, m, func(w http.ResponseWriter, r *http.Request) {
		conn, in := switching(t, w, r)
		defer func() { _ = conn.Close() }()
		_, _ = io.WriteString(conn, "hello\n")
		if r.URL.Path == "/break" {
			_, _ = in.ReadByte()
			panic(http.ErrAbortHandler)
		}
		_, err := io.Copy(io.Discard, in)
		ended <- err
	})
	hello := func(t *testing.T, conn io.Reader) {
		t.Helper()
		if _, err := io.ReadFull(conn, make([]byte, len("hello\n"))); err != nil {
			t.Error(err)
		}
	}
	t.Run("the caller's context ends", func(t *testing.T) {
		ctx, leave := context.WithCancel(t.Context())
		defer leave()
		_, conn := upgradeOver(ctx, t, way, "/")
		defer func() { _ = conn.Close() }()
		hello(t, conn)
		leave()
		if err := <-ended; err == nil {
			t.Error("the agent saw a clean end")
		}
		if _, err := io.ReadAll(conn); err == nil {
			t.Error("the caller read a clean end")
		}
	})
	t.Run("the caller closes", func(t *testing.T) {
		_, conn := upgradeOver(t.Context(), t, way, "/")
		hello(t, conn)
		_ = conn.Close()
		if err := <-ended; err == nil {
			t.Error("the agent saw a clean end")
		}
	})
	t.Run("the agent breaks off", func(t *testing.T) {
		_, conn := upgradeOver(t.Context(), t, way, "/break")
		defer func() { _ = conn.Close() }()
		hello(t, conn)
		_, _ = conn.Write([]byte("x"))
		if got, err := io.ReadAll(conn); err == nil {
			t.Errorf("the caller read %q and a clean end", got)
		}
	})
}

// The agent's context ends when the caller leaves, whatever is under way.
func callerLeaves(t *testing.T, m Mesh) {
	working, ended := make(chan struct{}), make(chan struct{})
	way := hop(t, m, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/upload":
			_, _ = r.Body.Read(make([]byte, 1))
		case "/download":
			w.(http.Flusher).Flush()
		}
		working <- struct{}{}
		<-r.Context().Done()
		ended <- struct{}{}
	})
	for _, row := range []struct {
		name, path string
		body       io.Reader
		answered   bool
	}{
		{"before the answer", "/", nil, false},
		{"in the upload", "/upload", endless{}, false},
		{"in the download", "/download", nil, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			why := errors.New("the caller has left")
			ctx, leave := context.WithCancelCause(t.Context())
			go func() {
				<-working
				if !row.answered {
					leave(why)
				}
			}()
			res, err := way.RoundTrip(request(t, http.MethodPost, row.path, row.body).WithContext(ctx))
			if !row.answered {
				if !errors.Is(err, why) {
					t.Errorf("got %v, want the context's cause", err)
				}
			} else if err != nil {
				t.Fatal(err)
			} else {
				leave(why)
				if _, err := io.ReadAll(res.Body); err == nil {
					t.Error("the body ended cleanly")
				}
				_ = res.Body.Close()
			}
			<-ended
		})
	}
}

// What an agent breaks off never looks whole.
func agentBreaksOff(t *testing.T, m Mesh) {
	way := hop(t, m, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/before":
			panic(http.ErrAbortHandler)
		case "/known":
			w.Header().Set("Content-Length", "100")
		}
		_, _ = io.WriteString(w, "half")
		w.(http.Flusher).Flush()
		_, _ = r.Body.Read(make([]byte, 1)) // until the caller has the first half
		panic(http.ErrAbortHandler)
	})
	t.Run("before the answer", func(t *testing.T) {
		res, err := way.RoundTrip(request(t, http.MethodGet, "/before", nil))
		if err == nil {
			_ = res.Body.Close()
			t.Fatalf("status %d", res.StatusCode)
		}
		if e := fault.From(err); e.Code != fault.BadAgentResponse || errors.Is(err, fault.ErrNotDelivered) {
			t.Errorf("got %v", err)
		}
	})
	for _, path := range []string{"/known", "/unknown"} {
		t.Run("in a body of length "+path[1:], func(t *testing.T) {
			body, more := io.Pipe()
			defer func() { _ = more.Close() }()
			res, err := way.RoundTrip(request(t, http.MethodPost, path, body))
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = res.Body.Close() }()
			if _, err := io.ReadFull(res.Body, make([]byte, len("half"))); err != nil {
				t.Fatal(err)
			}
			go func() { _, _ = more.Write([]byte("x")) }()
			if rest, err := io.ReadAll(res.Body); err == nil {
				t.Errorf("the body ended cleanly after %q", rest)
			}
		})
	}
}
