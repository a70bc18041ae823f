package admission_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/getbindu/bindu-edge/internal/admission"
	"github.com/getbindu/bindu-edge/internal/fault"
	"github.com/getbindu/bindu-edge/internal/tunnel"
)

// request has a body of the length, announced or not; -1 = no body.
func request(length int, announced bool) *http.Request {
	if length < 0 {
		return &http.Request{Method: http.MethodGet}
	}
	req := &http.Request{Method: http.MethodPost, Body: io.NopCloser(strings.NewReader(strings.Repeat("x", length))), ContentLength: -1}
	if announced {
		req.ContentLength = int64(length)
	}
	return req
}

// gate is that of a tunnel whose grant says nothing.
func gate(l admission.Limits) *admission.Gate {
	return admission.New(admission.Options{Limits: l}).Gate(tunnel.Grant{})
}

func code(err error) fault.Code {
	if err == nil {
		return ""
	}
	return fault.From(err).Code
}

func TestInFlight(t *testing.T) {
	g := gate(admission.Limits{InFlight: 2})
	enter := func(want fault.Code) {
		t.Helper()
		if _, err := g.Enter(request(-1, false)); code(err) != want {
			t.Fatalf("Enter = %v, want %q", err, want)
		}
	}
	enter("")
	enter("")
	enter(fault.ConcurrencyLimited)
	enter(fault.ConcurrencyLimited) // what is refused is not counted
	if n := g.InFlight(); n != 2 {
		t.Errorf("%d in flight", n)
	}
	g.Leave()
	enter("")
	enter(fault.ConcurrencyLimited)
}

func TestRate(t *testing.T) {
	for _, row := range []struct {
		name  string
		input admission.Limits
		burst int           // at once
		next  time.Duration // until one more passes
	}{
		{"burst", admission.Limits{RPS: 10, Burst: 3}, 3, 100 * time.Millisecond},
		{"a second's worth", admission.Limits{RPS: 5}, 5, 200 * time.Millisecond},
		{"less than one a second", admission.Limits{RPS: 0.5}, 1, 2 * time.Second},
		{"a fraction counts as one", admission.Limits{RPS: 2.9}, 3, 344827587 * time.Nanosecond},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := gate(row.input)
				for range row.burst {
					if _, err := g.Enter(request(-1, false)); err != nil {
						t.Fatal(err)
					}
				}
				for range 3 { // a refusal costs nothing
					_, err := g.Enter(request(-1, false))
					if code(err) != fault.RateLimited || fault.From(err).Retry() < time.Second {
						t.Fatalf("over the rate: %v, retry after %v", err, fault.From(err).Retry())
					}
				}
				if g.InFlight() != row.burst {
					t.Errorf("%d in flight", g.InFlight())
				}
				<-time.After(row.next - time.Millisecond)
				if _, err := g.Enter(request(-1, false)); code(err) != fault.RateLimited {
					t.Errorf("too early: %v", err)
				}
				<-time.After(2 * time.Millisecond)
				if _, err := g.Enter(request(-1, false)); err != nil {
					t.Errorf("in time: %v", err)
				}
			})
		})
	}
}

func TestBody(t *testing.T) {
	const limit = 100
	for _, row := range []struct {
		name      string
		length    int
		announced bool
		enter     fault.Code
		read      fault.Code
		bytes     int // that the agent gets
	}{
		{"none", -1, false, "", "", 0},
		{"empty", 0, true, "", "", 0},
		{"below", limit - 1, true, "", "", limit - 1},
		{"at", limit, true, "", "", limit},
		{"above", limit + 1, true, fault.RequestTooLarge, "", 0},
		{"chunked, empty", 0, false, "", "", 0},
		{"chunked, below", limit - 1, false, "", "", limit - 1},
		{"chunked, at", limit, false, "", "", limit},
		{"chunked, above", limit + 1, false, "", fault.RequestTooLarge, limit},
		{"chunked, far above", 50 * limit, false, "", fault.RequestTooLarge, limit},
	} {
		for _, small := range []bool{false, true} {
			t.Run(row.name, func(t *testing.T) {
				g := gate(admission.Limits{Body: limit})
				req := request(row.length, row.announced)
				if row.enter != "" {
					req.Body = io.NopCloser(iotest.ErrReader(errors.New("a refusal costs no byte of the body")))
				}
				in, err := g.Enter(req)
				if code(err) != row.enter {
					t.Fatalf("Enter = %v, want %q", err, row.enter)
				}
				if err != nil {
					if g.InFlight() != 0 {
						t.Error("a refused request is in flight")
					}
					return
				}
				if in.Body == nil {
					return
				}
				var from io.Reader = in.Body
				if small {
					from = iotest.OneByteReader(from)
				}
				got, err := io.ReadAll(from)
				if code(err) != row.read || len(got) != row.bytes {
					t.Errorf("read %d bytes, %v; want %d, %q", len(got), err, row.bytes, row.read)
				}
				if row.read != "" {
					if n, err := in.Body.Read(make([]byte, 10)); n != 0 || code(err) != fault.RequestTooLarge {
						t.Errorf("read on: %d bytes, %v", n, err)
					}
				}
			})
		}
	}
}

// The caller's request is not touched, and an error of the body is passed on.
func TestBodyIsWrapped(t *testing.T) {
	g := gate(admission.Limits{Body: 100})
	broken := errors.New("broken")
	req := request(0, false)
	own := io.NopCloser(iotest.ErrReader(broken))
	req.Body = own
	in, err := g.Enter(req)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := in.Body.Read(make([]byte, 10)); !errors.Is(err, broken) {
		t.Errorf("got %v, want the body's own error", err)
	}
	if req.Body != own {
		t.Error("the caller's request was changed")
	}
}

func TestNoLimits(t *testing.T) {
	g := gate(admission.Limits{})
	for range 5000 {
		req := request(10, false)
		in, err := g.Enter(req)
		if err != nil || in != req {
			t.Fatal(in, err)
		}
	}
	if g.InFlight() != 5000 {
		t.Errorf("%d in flight", g.InFlight())
	}
}

func TestCostsNothing(t *testing.T) {
	g := gate(admission.Limits{RPS: 1e9, Burst: 1 << 30, InFlight: 10, Body: 100})
	req := request(100, true)
	if n := testing.AllocsPerRun(1000, func() {
		if _, err := g.Enter(req); err != nil {
			t.Fatal(err)
		}
		g.Leave()
	}); n != 0 {
		t.Errorf("%v allocations a request", n)
	}
}

func TestInFlightUnderLoad(t *testing.T) {
	const limit = 4
	g := gate(admission.Limits{InFlight: limit})
	var callers sync.WaitGroup
	for range 32 {
		callers.Go(func() {
			for range 500 {
				if _, err := g.Enter(request(-1, false)); err == nil {
					g.Leave()
				}
			}
		})
	}
	callers.Wait()
	if g.InFlight() != 0 {
		t.Errorf("%d in flight at the end", g.InFlight())
	}
	for range limit {
		if _, err := g.Enter(request(-1, false)); err != nil {
			t.Errorf("a place was lost: %v", err)
		}
	}
}
