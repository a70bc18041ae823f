package relaytest

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"net/textproto"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/getbindu/bindu-edge/internal/fault"
	"github.com/getbindu/bindu-edge/internal/relay"
	"github.com/getbindu/bindu-edge/internal/tunnel"
	"github.com/getbindu/bindu-edge/internal/wire"
)

// said is what must be left of an error on the other side of a hop.
type said struct {
	Code                      fault.Code
	Status                    int
	Detail                    string
	RetryAfter                time.Duration
	Header                    http.Header
	NotDelivered, Misdirected bool
}

func saidBy(err error) said {
	e := fault.From(err)
	return said{
		e.Code, e.Status, e.Detail, e.RetryAfter, e.Header,
		errors.Is(err, fault.ErrNotDelivered), errors.Is(err, relay.ErrMisdirected),
	}
}

// failing is a link whose answer is always err.
func failing(err error) http.RoundTripper {
	return carry(func(r *http.Request) (*http.Response, error) {
		_ = r.Body.Close()
		return nil, err
	})
}

// fail sends req, which must fail.
func fail(t testing.TB, way http.RoundTripper, req *http.Request) error {
	t.Helper()
	res, err := way.RoundTrip(req)
	if err == nil {
		_ = res.Body.Close()
		err = fmt.Errorf("%s %s was answered: %d", req.Method, req.URL.Opaque, res.StatusCode)
		t.Error(err)
	}
	return err
}

func errorsKept(t *testing.T, m Mesh) {
	door, holder := join(t, m), join(t, m)
	way := door.client.To(holder.id, theTunnel)
	internal := fault.From(errors.New("x")).Detail
	for _, row := range []struct {
		name string
		err  error
		want said
	}{
		{"a code alone", fault.New(fault.FirstByteTimeout, ""), said{Code: fault.FirstByteTimeout}},
		{
			"everything",
			&fault.Error{
				Code: fault.MethodNotAllowed, Status: 418, Detail: "Méthode \"x\"\r\n\x7f\x00日", RetryAfter: 1500 * time.Millisecond,
				Header: http.Header{"Allow": {"GET, HEAD"}, "X-Two": {"a", "b"}},
			},
			said{
				Code: fault.MethodNotAllowed, Status: 418, Detail: "Méthode \"x\"\r\n\x7f\x00日", RetryAfter: 1500 * time.Millisecond,
				Header: http.Header{"Allow": {"GET, HEAD"}, "X-Two": {"a", "b"}},
			},
		},
		{
			"how to authenticate",
			&fault.Error{Code: fault.Unauthorized, Header: http.Header{"Www-Authenticate": {`Basic realm="a, b"`}}},
			said{Code: fault.Unauthorized, Header: http.Header{"Www-Authenticate": {`Basic realm="a, b"`}}},
		},
		{
			"a limit, which the agent never saw",
			&fault.Error{Code: fault.RateLimited, RetryAfter: 7 * time.Second},
			said{Code: fault.RateLimited, RetryAfter: 7 * time.Second, NotDelivered: true},
		},
		{
			"a refusal of ours with proof",
			fault.Wrap(fault.HeaderTooLarge, "Too large.", fault.ErrNotDelivered),
			said{Code: fault.HeaderTooLarge, Detail: "Too large.", NotDelivered: true},
		},
		{
			"the link is not here",
			fault.NotDelivered("Gone.", errors.New("inner matters")),
			said{Code: fault.TunnelOffline, Detail: "Gone.", NotDelivered: true, Misdirected: true},
		},
		{"the link was lost", fault.New(fault.LinkLost, "Lost."), said{Code: fault.LinkLost, Detail: "Lost."}},
		{"no code: internal, and its text stays", errors.New("a secret"), said{Code: fault.Internal, Detail: internal}},
		{
			"more than a header may hold",
			&fault.Error{Code: fault.Forbidden, Detail: strings.Repeat("x", 1<<20)},
			said{Code: fault.Forbidden},
		},
	} {
		for _, method := range []string{http.MethodGet, http.MethodHead} {
			t.Run(row.name+", "+method, func(t *testing.T) {
				holder.link(theTunnel, failing(row.err))
				err := fail(t, way, request(t, method, "/", nil))
				if diff := cmp.Diff(row.want, saidBy(err)); diff != "" {
					t.Errorf("-want +got:\n%s", diff)
				}
				if text := err.Error(); strings.Contains(text, "a secret") || strings.Contains(text, "inner matters") {
					t.Errorf("the hop tells what is for the other pod's log: %s", text)
				}
			})
		}
	}
	if n := door.dials.Load(); n != 1 {
		t.Errorf("%d connections for it", n)
	}
}

// A code means the same on both sides, its proof too: 503 and 429 say that the
// agent saw nothing.
func everyCode(t *testing.T, m Mesh) {
	door, holder := join(t, m), join(t, m)
	for _, code := range fault.Codes() {
		id := tunnel.ID(code)
		holder.link(id, failing(fault.New(code, "")))
		want := said{Code: code, NotDelivered: code.Retryable(), Misdirected: code == fault.TunnelOffline}
		if diff := cmp.Diff(want, saidBy(fail(t, door.client.To(holder.id, id), request(t, http.MethodGet, "/", nil)))); diff != "" {
			t.Errorf("%s, -want +got:\n%s", code, diff)
		}
	}
}

// A pod that does not hold the tunnel says so, and asks nobody else, even if it
// could.
func misdirected(t *testing.T, m Mesh) {
	door, wrong, right := join(t, m), join(t, m), join(t, m)
	agent := newAgent(t, func(http.ResponseWriter, *http.Request) { t.Error("the agent was reached by a second hop") })
	right.link(theTunnel, agent)
	wrong.link("another", right.client.To(right.id, theTunnel)) // so that the way exists
	body := whenRead(func() { t.Error("the body was read") })
	req := expecting(t, unknownLength{body})
	if err := fail(t, door.client.To(wrong.id, theTunnel), req); !errors.Is(err, relay.ErrMisdirected) || !errors.Is(err, fault.ErrNotDelivered) {
		t.Errorf("got %v", err)
	}
	if n := wrong.dials.Load(); n != 0 {
		t.Errorf("the pod has dialled %d times", n)
	}
}

// agentPosesAsPod answers with the fields by which pods speak to each other.
func agentPosesAsPod(t *testing.T, m Mesh) {
	pose := func(h http.Header) {
		for _, name := range []string{"Error", "Refused", "Fault", "Tunnel", "Caller", "Anything"} {
			h.Set("Bindu-Hop-"+name, string(fault.TunnelRevoked))
		}
	}
	way := hop(t, m, func(w http.ResponseWriter, _ *http.Request) {
		pose(w.Header())
		w.WriteHeader(http.StatusEarlyHints)
		w.WriteHeader(http.StatusMisdirectedRequest)
		_, _ = io.WriteString(w, "mine")
	})
	hints := 0
	req := request(t, http.MethodGet, "/", nil)
	req = req.WithContext(httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{
		Got1xxResponse: func(_ int, h textproto.MIMEHeader) error {
			hints++
			for name := range h {
				if strings.HasPrefix(name, "Bindu-Hop-") {
					t.Errorf("the door got %s with the hints", name)
				}
			}
			return nil
		},
	}))
	res := want(t, way, req, http.StatusMisdirectedRequest, "mine")
	if hints != 1 {
		t.Errorf("%d hints", hints)
	}
	for name := range res.Header {
		if strings.HasPrefix(name, "Bindu-Hop-") {
			t.Errorf("the door got %s", name)
		}
	}
}

// agentEndsNothing does what ends HTTP/2 connections; another request that is
// under way on the same one must end well.
func agentEndsNothing(t *testing.T, m Mesh) {
	working, finish := make(chan struct{}), make(chan struct{})
	// The largest that a link takes: its own and "Content-Length: 0" and a Date beside.
	large := strings.Repeat("x", wire.MaxResponseHeader-len("x-large"+"content-length"+"0"+"date"+http.TimeFormat)-3*32)
	genuine := newAgent(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/large":
			w.Header().Set("X-Large", large)
			return
		case "/too-large":
			w.Header().Set("X-Large", large+"x")
			return
		}
		close(working)
		<-finish
		_, _ = io.WriteString(w, "ok")
	})
	// What net/http would not send, an agent of another make may.
	raw := func(h http.Header) http.RoundTripper {
		return carry(func(r *http.Request) (*http.Response, error) {
			_ = r.Body.Close()
			return &http.Response{StatusCode: 200, Header: h, Body: io.NopCloser(strings.NewReader("raw"))}, nil
		})
	}
	door, holder := join(t, m), join(t, m)
	holder.link("real", genuine)
	holder.link("close", raw(http.Header{"Connection": {"close"}}))
	holder.link("names", raw(http.Header{"Bad Name\n": {"x"}, "X-Bad": {"a\r\nb"}, "Transfer-Encoding": {"chunked"}, "Content-Length": {"x"}}))
	other := make(chan struct{})
	go func() {
		defer close(other)
		want(t, door.client.To(holder.id, "real"), request(t, http.MethodGet, "/", nil), http.StatusOK, "ok")
	}()
	<-working
	want(t, door.client.To(holder.id, "close"), request(t, http.MethodGet, "/", nil), http.StatusOK, "raw")
	want(t, door.client.To(holder.id, "names"), request(t, http.MethodGet, "/", nil), http.StatusOK, "raw")
	res := want(t, door.client.To(holder.id, "real"), request(t, http.MethodGet, "/large", nil), http.StatusOK, "")
	if got := res.Header.Get("X-Large"); got != large {
		t.Errorf("a field of %d bytes has %d", len(large), len(got))
	}
	if _, err := door.client.To(holder.id, "real").RoundTrip(request(t, http.MethodGet, "/too-large", nil)); fault.From(err).Code != fault.BadAgentResponse {
		t.Errorf("a header that no link takes: %v", err)
	}
	close(finish)
	<-other
	if n := door.dials.Load(); n != 1 {
		t.Errorf("it took %d connections", n)
	}
}

func callerAddress(t *testing.T, m Mesh) {
	_, _, way := hopTo(t, m, carry(func(r *http.Request) (*http.Response, error) {
		_ = r.Body.Close()
		return &http.Response{StatusCode: 200, Body: io.NopCloser(strings.NewReader(tunnel.Caller(r.Context()).String()))}, nil
	}))
	for _, row := range []struct{ name, address, want string }{
		{"IPv4", "192.0.2.1", "192.0.2.1"},
		{"IPv6", "2001:db8::1", "2001:db8::1"},
		{"none", "", netip.Addr{}.String()},
	} {
		t.Run(row.name, func(t *testing.T) {
			req := request(t, http.MethodGet, "/", nil)
			req.Header.Set("Bindu-Hop-Caller", "203.0.113.9") // of no account
			if row.address != "" {
				req = req.WithContext(tunnel.WithCaller(req.Context(), netip.MustParseAddr(row.address)))
			}
			want(t, way, req, http.StatusOK, row.want)
		})
	}
}
