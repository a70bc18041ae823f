package relay

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/getbindu/bindu-edge/internal/fault"
	"github.com/getbindu/bindu-edge/internal/given"
	"github.com/getbindu/bindu-edge/internal/tunnel"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	ours   = "a secret of 32 bytes, or some more"
	theirs = "another secret of 32 bytes or more"
)

func secret(t testing.TB, s string) *Identity {
	t.Helper()
	i, err := NewSecret(s)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

// pipeListener accepts what is dialled within this process: net.Pipe, so that
// time can be faked around it.
type pipeListener struct{ *given.Listener }

func newPipeListener() *pipeListener {
	return &pipeListener{given.NewListener(&net.UnixAddr{Name: "pipe"})}
}

func (l *pipeListener) dial(ctx context.Context) (net.Conn, error) {
	near, far := net.Pipe()
	if err := l.Give(ctx, far); err != nil {
		return nil, err
	}
	return near, nil
}

// Dial implements Dialer: there is only one pod.
func (l *pipeListener) Dial(ctx context.Context, _ tunnel.PodID) (net.Conn, error) {
	return l.dial(ctx)
}

// dialFunc is a function as a Dialer.
type dialFunc func(context.Context, tunnel.PodID) (net.Conn, error)

func (f dialFunc) Dial(ctx context.Context, pod tunnel.PodID) (net.Conn, error) { return f(ctx, pod) }

// fakeLinks answer every tunnel's requests.
type fakeLinks struct{ answer roundTripper }

func (l fakeLinks) Here(tunnel.ID) http.RoundTripper         { return l.answer }
func (l fakeLinks) Alive(context.Context, tunnel.Claim) bool { return true }
func (l fakeLinks) Moved(tunnel.Claim, bool)                 {}

// text is an agent that answers with s.
func text(s string) roundTripper {
	return func(r *http.Request) (*http.Response, error) {
		_ = r.Body.Close()
		return &http.Response{
			StatusCode: http.StatusOK, Header: http.Header{}, ContentLength: int64(len(s)), Body: io.NopCloser(strings.NewReader(s)),
		}, nil
	}
}

const holder, door = tunnel.PodID("holder-1"), tunnel.PodID("door-1")

// serve runs pod holder on l until the returned function is called.
func serve(t testing.TB, l net.Listener, i *Identity, agent roundTripper, log *slog.Logger) (*Server, func()) {
	t.Helper()
	s := NewServer(ServerOptions{Pod: holder, Identity: i, Links: fakeLinks{agent}, Logger: log})
	var serving sync.WaitGroup
	serving.Go(func() {
		if err := s.Serve(l); err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return s, func() {
		_ = s.Close()
		serving.Wait()
	}
}

// served is serve for a pod that lasts as long as the test.
func served(t testing.TB, agent roundTripper) (*pipeListener, *Server) {
	t.Helper()
	l := newPipeListener()
	s, stop := serve(t, l, secret(t, ours), agent, nil)
	t.Cleanup(stop)
	return l, s
}

func get(ctx context.Context, t testing.TB) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://public.example/", nil)
	if err != nil {
		t.Fatal(err)
	}
	return req
}

// ask sends a request and returns the body of the answer.
func ask(t testing.TB, way http.RoundTripper) (string, error) {
	t.Helper()
	res, err := way.RoundTrip(get(t.Context(), t))
	if err != nil {
		return "", err
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	return string(body), err
}

// answers is ask for those who know the answer.
func answers(t testing.TB, way http.RoundTripper, want string) {
	t.Helper()
	if got, err := ask(t, way); err != nil || got != want {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
}

// notMade is what every hop says that could not be made.
func notMade(t testing.TB, err error) {
	t.Helper()
	if fault.From(err).Code != fault.RelayUnavailable || !errors.Is(err, fault.ErrNotDelivered) {
		t.Errorf("got %v, want %s and the proof that nobody saw the request", err, fault.RelayUnavailable)
	}
}

// notes is a slog.Handler that keeps the messages of warnings.
type notes struct {
	mu   sync.Mutex
	said []string
}

func (n *notes) Enabled(context.Context, slog.Level) bool { return true }
func (n *notes) WithAttrs([]slog.Attr) slog.Handler       { return n }
func (n *notes) WithGroup(string) slog.Handler            { return n }

func (n *notes) Handle(_ context.Context, r slog.Record) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if r.Level >= slog.LevelWarn {
		n.said = append(n.said, r.Message)
	}
	return nil
}

func (n *notes) warnings() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.said)
}

// meet lets both ends prove themselves over a connection.
func meet(t testing.TB, dialler, listener *Identity, wanted tunnel.PodID) (near, far *peerConn, dialled, accepted error) {
	t.Helper()
	a, b := net.Pipe()
	var both sync.WaitGroup
	both.Go(func() { far, accepted = listener.accept(t.Context(), b, holder, nil) })
	near, dialled = dialler.dial(t.Context(), a, door, wanted)
	both.Wait()
	return near, far, dialled, accepted
}

// stranger is the dialling end of a TLS connection as a hop has it, and no more.
func stranger(t testing.TB, raw net.Conn, change func(*tls.Config)) (*tls.Conn, error) {
	t.Helper()
	c, err := secret(t, theirs).config()
	if err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(c)
	}
	conn := tls.Client(raw, c)
	return conn, conn.HandshakeContext(t.Context())
}

// tlsServer is a listening end that has shaken hands, and does no more.
func tlsServer(raw net.Conn, config *tls.Config) net.Conn {
	conn := tls.Server(raw, config)
	_ = conn.HandshakeContext(context.Background())
	return conn
}
