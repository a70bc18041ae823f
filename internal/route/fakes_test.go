package route_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/getbindu/bindu-edge/internal/fault"
	"github.com/getbindu/bindu-edge/internal/relay"
	"github.com/getbindu/bindu-edge/internal/tunnel"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	id    = tunnel.ID("t")
	here  = tunnel.PodID("here")
	there = tunnel.PodID("there")
	other = tunnel.PodID("other")
	grace = 5 * time.Second
)

// fakeHub finds what find does, and expects nothing unless look says otherwise.
type fakeHub struct {
	find func() http.RoundTripper
	look func() (http.RoundTripper, bool, <-chan struct{})

	opening bool
}

func (h fakeHub) Find(tunnel.ID) http.RoundTripper {
	if h.find == nil {
		return nil
	}
	return h.find()
}

func (h fakeHub) Opening(tunnel.ID) bool { return h.opening }

func (h fakeHub) Refusal(context.Context, tunnel.ID, *http.Request) error { return nil }

func (h fakeHub) Look(tunnel.ID) (http.RoundTripper, bool, <-chan struct{}) {
	if h.look == nil {
		return nil, false, nil
	}
	return h.look()
}

// fakeRegistry gives an answer to each question: of a row of answers the next
// one, and the last one for ever.
type fakeRegistry struct {
	mu    sync.Mutex
	owner []answer // what it believes
	now   []answer // what is so; nil = what it believes
	left  []answer // for how long the tunnel is expected back

	asked []string // "owner", "now", "expected"
}

type answer struct {
	pod      tunnel.PodID // "" = nobody
	session  string       // "" = the pod's name
	expected time.Duration
	err      error
}

func (r *fakeRegistry) next(question string, answers *[]answer) answer {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked = append(r.asked, question)
	if len(*answers) == 0 {
		return answer{}
	}
	a := (*answers)[0]
	if len(*answers) > 1 {
		*answers = (*answers)[1:]
	}
	return a
}

func (r *fakeRegistry) Owner(ctx context.Context, _ tunnel.ID) (tunnel.Claim, bool, error) {
	return r.next("owner", &r.owner).claim(ctx)
}

func (r *fakeRegistry) OwnerNow(ctx context.Context, _ tunnel.ID) (tunnel.Claim, bool, error) {
	if r.now == nil {
		return r.next("now", &r.owner).claim(ctx)
	}
	return r.next("now", &r.now).claim(ctx)
}

func (r *fakeRegistry) Expected(context.Context, tunnel.ID) (time.Duration, error) {
	a := r.next("expected", &r.left)
	return a.expected, a.err
}

func (a answer) claim(ctx context.Context) (tunnel.Claim, bool, error) {
	if ctx.Err() != nil {
		return tunnel.Claim{}, false, ctx.Err()
	}
	if a.session == "" {
		a.session = string(a.pod)
	}
	return tunnel.Claim{Tunnel: id, Pod: a.pod, Session: a.session}, a.pod != "", a.err
}

// fakePeers do what tries say: each the next thing with every hop, the last for
// ever.
type fakePeers struct {
	tries map[tunnel.PodID][]try

	mu   sync.Mutex
	hops []tunnel.PodID
}

func (p *fakePeers) To(pod tunnel.PodID, _ tunnel.ID) http.RoundTripper {
	return try(func(r *http.Request) (*http.Response, error) {
		p.mu.Lock()
		p.hops = append(p.hops, pod)
		next := p.tries[pod][0]
		if len(p.tries[pod]) > 1 {
			p.tries[pod] = p.tries[pod][1:]
		}
		p.mu.Unlock()
		return next(r)
	})
}

// try is what a link or a hop does with a request.
type try func(*http.Request) (*http.Response, error)

func (f try) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// What a link says of a request.
var (
	unseen  = fault.NotDelivered("just ended", nil)
	full    = &fault.Error{Code: fault.ConcurrencyLimited, Err: fault.ErrNotDelivered}
	lost    = fault.New(fault.LinkLost, "lost")
	offline = fault.New(fault.TunnelOffline, "not connected")

	errPlain = errors.New("plain")
	errLeft  = errors.New("the caller left")
)

// What a hop says of a request, as package relay documents it.
var (
	misdirected = fault.NotDelivered("not here", relay.ErrMisdirected)
	gone        = unreached(relay.ErrGone)
	left        = unreached(relay.ErrLeft)
	timeout     = unreached(errors.Join(relay.ErrUnreachable, context.DeadlineExceeded))
)

func unreached(cause error) *fault.Error {
	return fault.Wrap(fault.RelayUnavailable, "can't be reached", errors.Join(fault.ErrNotDelivered, cause))
}

const upload = "hello"

// answers reads the body to its end, as a link does that delivers.
func answers(r *http.Request) (*http.Response, error) {
	var got []byte
	if r.Body != nil {
		got, _ = io.ReadAll(r.Body)
		_ = r.Body.Close()
	}
	return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader(string(got)))}, nil
}

// fails closes the body unread, as net/http does, and fails.
func fails(err error) try {
	return func(r *http.Request) (*http.Response, error) {
		if r.Body != nil {
			_ = r.Body.Close()
			if n, err := r.Body.Read(make([]byte, 1)); n != 0 || err == nil {
				return nil, errors.New("a closed body can be read")
			}
		}
		return nil, err
	}
}

// failsAfterAByte takes a byte of the body before it fails.
func failsAfterAByte(err error) try {
	return func(r *http.Request) (*http.Response, error) {
		_, _ = r.Body.Read(make([]byte, 1))
		_ = r.Body.Close()
		return nil, err
	}
}

// source is a caller's body.
type source struct {
	*strings.Reader
	closed int
}

func (s *source) Close() error { s.closed++; return nil }

func request(t *testing.T, withBody bool) (*http.Request, *source) {
	t.Helper()
	body := &source{Reader: strings.NewReader(upload)}
	method, carried := http.MethodGet, io.Reader(nil)
	if withBody {
		method, carried = http.MethodPost, body
	}
	req, err := http.NewRequestWithContext(t.Context(), method, "http://edge.example/", carried)
	if err != nil {
		t.Fatal(err)
	}
	return req, body
}

// largeRequest has a body that is too large to be kept.
func largeRequest(t *testing.T) (*http.Request, *source) {
	t.Helper()
	req, body := request(t, true)
	body.Reader = strings.NewReader(strings.Repeat("x", 64<<10+1))
	req.ContentLength = body.Size()
	return req, body
}

func text(t *testing.T, res *http.Response) string {
	t.Helper()
	got, err := io.ReadAll(res.Body)
	if err != nil {
		t.Error(err)
	}
	return string(got)
}

func code(err error) fault.Code {
	if err == nil {
		return ""
	}
	return fault.From(err).Code
}
