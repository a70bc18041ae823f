package route_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/getbindu/bindu-edge/internal/fault"
	"github.com/getbindu/bindu-edge/internal/route"
	"github.com/getbindu/bindu-edge/internal/tunnel"
)

// fakeHub finds and waits as told.
type fakeHub struct {
	find func() http.RoundTripper
	wait func(context.Context) (http.RoundTripper, error)
}

func (h fakeHub) Find(tunnel.ID) http.RoundTripper { return h.find() }

func (h fakeHub) Wait(ctx context.Context, _ tunnel.ID) (http.RoundTripper, error) {
	return h.wait(ctx)
}

// try is what a link does with a request.
type try func(*http.Request) (*http.Response, error)

func (f try) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// source is a caller's body.
type source struct {
	*strings.Reader
	closed int
}

func (s *source) Close() error { s.closed++; return nil }

var (
	unseen  = fault.Wrap(fault.TunnelOffline, "just ended", fault.ErrNotDelivered)
	full    = &fault.Error{Code: fault.ConcurrencyLimited, Err: fault.ErrNotDelivered}
	lost    = fault.New(fault.LinkLost, "lost")
	offline = fault.New(fault.TunnelOffline, "not connected")
)

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

func TestRepeat(t *testing.T) {
	for _, row := range []struct {
		name  string
		tries []try // of the links that are found, one after another
		want  error // nil: the answer holds the whole upload
		tried int
	}{
		{"answered", []try{answers}, nil, 1},
		{"never seen, then answered", []try{fails(unseen), answers}, nil, 2},
		{"never seen twice, then answered", []try{fails(unseen), fails(unseen), answers}, nil, 3},
		{"never seen three times", []try{fails(unseen), fails(unseen), fails(unseen), answers}, unseen, 3},
		{"no proof", []try{fails(lost), answers}, lost, 1},
		{"no code", []try{fails(errPlain), answers}, errPlain, 1},
		{"proof, then none", []try{fails(unseen), fails(lost), answers}, lost, 2},
		{"full: another link is no better", []try{fails(full), answers}, full, 1},
		{"offline without proof", []try{fails(offline), answers}, offline, 1},
		{"the caller left", []try{fails(errLeft), answers}, errLeft, 1},
	} {
		for _, withBody := range []bool{true, false} {
			t.Run(row.name, func(t *testing.T) {
				tried := 0
				h := fakeHub{find: func() http.RoundTripper { tried++; return row.tries[tried-1] }}
				req, body := request(t, withBody)
				res, err := route.New(route.Options{Pod: "here", Hub: h, Registry: owner{}}).Route("t").RoundTrip(req)
				if !errors.Is(err, row.want) || tried != row.tried {
					t.Fatalf("%v after %d tries, want %v after %d", err, tried, row.want, row.tried)
				}
				if withBody && body.closed != 1 {
					t.Errorf("the body was closed %d times", body.closed)
				}
				if err == nil {
					if got, _ := io.ReadAll(res.Body); withBody && string(got) != upload {
						t.Errorf("the agent got %q", got)
					}
				}
			})
		}
	}
}

var (
	errPlain = errors.New("plain")
	errLeft  = errors.New("the caller left")
)

func request(t *testing.T, withBody bool) (*http.Request, *source) {
	t.Helper()
	body := &source{Reader: strings.NewReader(upload)}
	if !withBody {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://edge.example/", nil)
		if err != nil {
			t.Fatal(err)
		}
		return req, body
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://edge.example/", body)
	if err != nil {
		t.Fatal(err)
	}
	return req, body
}

// A byte of the body is gone with the link that took it, whatever that claims.
func TestNoRepeatOfAReadBody(t *testing.T) {
	tried := 0
	h := fakeHub{find: func() http.RoundTripper { tried++; return failsAfterAByte(unseen) }}
	req, body := request(t, true)
	if _, err := route.New(route.Options{Pod: "here", Hub: h, Registry: owner{}}).Route("t").RoundTrip(req); !errors.Is(err, unseen) || tried != 1 {
		t.Errorf("%v after %d tries", err, tried)
	}
	if body.closed != 1 {
		t.Errorf("the body was closed %d times", body.closed)
	}
}

// An answer may come before the end of the upload, whose Close follows later.
func TestUploadOutlivesTheAnswer(t *testing.T) {
	var lent io.ReadCloser
	h := fakeHub{find: func() http.RoundTripper {
		return try(func(r *http.Request) (*http.Response, error) {
			lent = r.Body
			return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody}, nil
		})
	}}
	req, body := request(t, true)
	if _, err := route.New(route.Options{Pod: "here", Hub: h, Registry: owner{}}).Route("t").RoundTrip(req); err != nil {
		t.Fatal(err)
	}
	if body.closed != 0 {
		t.Fatal("closed while the link has it")
	}
	if got, err := io.ReadAll(lent); string(got) != upload || err != nil {
		t.Errorf("the rest of the upload: %q, %v", got, err)
	}
	_ = lent.Close()
	if body.closed != 1 {
		t.Errorf("the body was closed %d times", body.closed)
	}
}

func TestWait(t *testing.T) {
	for _, row := range []struct {
		name string
		next http.RoundTripper
		err  error
	}{
		{"it comes back", try(answers), nil},
		{"it does not", nil, offline},
		{"the caller left", nil, errLeft},
	} {
		t.Run(row.name, func(t *testing.T) {
			waited := 0
			h := fakeHub{
				find: func() http.RoundTripper { return nil },
				wait: func(context.Context) (http.RoundTripper, error) { waited++; return row.next, row.err },
			}
			req, body := request(t, true)
			res, err := route.New(route.Options{Pod: "here", Hub: h, Registry: owner{}}).Route("t").RoundTrip(req)
			if !errors.Is(err, row.err) || waited != 1 {
				t.Fatalf("%v after %d waits, want %v", err, waited, row.err)
			}
			if body.closed != 1 {
				t.Errorf("the body was closed %d times", body.closed)
			}
			if row.err == nil {
				if got, _ := io.ReadAll(res.Body); string(got) != upload {
					t.Errorf("the agent got %q", got)
				}
			} else if body.Len() != len(upload) {
				t.Error("the body was read in vain")
			}
		})
	}
}

// A link that ended a moment ago is looked for again, and waited for.
func TestRepeatWaits(t *testing.T) {
	links := []http.RoundTripper{fails(unseen), nil}
	h := fakeHub{
		find: func() http.RoundTripper { next := links[0]; links = links[1:]; return next },
		wait: func(context.Context) (http.RoundTripper, error) { return try(answers), nil },
	}
	req, body := request(t, true)
	if _, err := route.New(route.Options{Pod: "here", Hub: h, Registry: owner{}}).Route("t").RoundTrip(req); err != nil || body.closed != 1 {
		t.Errorf("%v, body closed %d times", err, body.closed)
	}
}

// owner is a registry that gives one answer.
type owner struct {
	claim tunnel.Claim
	err   error
}

func (o owner) Owner(context.Context, tunnel.ID) (tunnel.Claim, bool, error) {
	return o.claim, o.claim.Pod != "", o.err
}

// What a caller is told of a tunnel that is not linked here depends on who
// holds it, if anybody can say.
func TestNotLinkedHere(t *testing.T) {
	tests := []struct {
		name  string
		owner owner
		want  fault.Code
	}{
		{"held by nobody", owner{}, fault.TunnelOffline},
		{"held here, by a link that is gone", owner{claim: tunnel.Claim{Pod: "here"}}, fault.TunnelOffline},
		{"held elsewhere", owner{claim: tunnel.Claim{Pod: "there"}}, fault.RelayUnavailable},
		{"nobody can say", owner{err: errPlain}, fault.RegistryUnavailable},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := fakeHub{
				find: func() http.RoundTripper { return nil },
				wait: func(context.Context) (http.RoundTripper, error) { return nil, offline },
			}
			req := httptest.NewRequest(http.MethodGet, "/", nil)
			_, err := route.New(route.Options{Pod: "here", Hub: h, Registry: tt.owner}).Route("t").RoundTrip(req)
			if got := fault.From(err).Code; got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}
