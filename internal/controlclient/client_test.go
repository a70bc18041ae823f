package controlclient_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/getbindu/bindu-edge/internal/controlclient"
	"github.com/getbindu/bindu-edge/internal/tunnel"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const secret = "bet_do_not_show"

var end = time.Date(2126, 1, 2, 3, 4, 5, 0, time.UTC)

// serve starts a control plane that is h and gives a client of it.
func serve(t *testing.T, h http.HandlerFunc) *controlclient.Client {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return dial(t, server.URL)
}

func dial(t *testing.T, base string) *controlclient.Client {
	t.Helper()
	u, err := url.Parse(base)
	if err != nil {
		t.Fatal(err)
	}
	c, err := controlclient.New(controlclient.Options{BaseURL: u})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// says is a control plane with one answer to everything.
func says(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", "/elsewhere")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

const (
	okValidation = `{"valid":true,"tunnel_id":"t","status":"active","expires_at":"2126-01-02T03:04:05Z"}`
	okResolution = `{"tunnel_id":"t","expires_at":"2126-01-02T03:04:05Z","status":"active"}`
)

// allErrors are the ones that callers tell apart: a row must match exactly one.
var allErrors = []error{
	controlclient.ErrAway, tunnel.ErrBusy, controlclient.ErrNonsense, tunnel.ErrUnauthorized,
	tunnel.ErrUnknown, tunnel.ErrExpired, tunnel.ErrRevoked, context.Canceled, context.DeadlineExceeded,
}

func wantError(t *testing.T, what string, got, want error) {
	t.Helper()
	for _, e := range allErrors {
		if is := errors.Is(got, e); is != errors.Is(want, e) {
			t.Errorf("%s: %v, want %v", what, got, want)
			return
		}
	}
	if want == nil && got != nil {
		t.Errorf("%s: %v", what, got)
	}
	if got != nil && strings.Contains(got.Error(), secret) {
		t.Errorf("%s: the error shows the token: %v", what, got)
	}
}

func TestRequests(t *testing.T) {
	type request struct{ Method, Path, Authorization, ContentType, Idempotency, Body string }
	for _, row := range []struct {
		name, prefix, token string
		ask                 func(context.Context, *controlclient.Client) error
		want                request
	}{
		{"validate", "", "", func(ctx context.Context, c *controlclient.Client) error {
			_, err := c.Validate(ctx, "t", "a<b\u00fc\"")
			return err
		}, request{"POST", "/api/tunnels/validate", "", "application/json", "", `{"tunnel_id":"t","token":"a\u003cbü\""}`}},
		{"validate under a prefix, with a bearer", "/cp/v1/", "s3", func(ctx context.Context, c *controlclient.Client) error {
			_, err := c.Validate(ctx, "t", "a")
			return err
		}, request{"POST", "/cp/v1/api/tunnels/validate", "Bearer s3", "application/json", "", `{"tunnel_id":"t","token":"a"}`}},
		{"resolve", "?x=1#y", "s3", func(ctx context.Context, c *controlclient.Client) error {
			_, err := c.Resolve(ctx, "Slug_-1")
			return err
		}, request{"GET", "/api/tunnels/resolve/Slug_-1", "Bearer s3", "", "", ""}},
		{"health", "/cp", "", func(ctx context.Context, c *controlclient.Client) error {
			return c.Health(ctx)
		}, request{"GET", "/cp/health", "", "", "", ""}},
	} {
		t.Run(row.name, func(t *testing.T) {
			got := make(chan request, 1)
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				got <- request{
					r.Method, r.RequestURI, r.Header.Get("Authorization"),
					r.Header.Get("Content-Type"), strings.Join(r.Header["Idempotency-Key"], "!"), string(body),
				}
				switch {
				case strings.HasSuffix(r.URL.Path, "/health"):
					says(200, `{"status":"ok","more":[]}`)(w, r)
				default:
					says(200, okValidation)(w, r)
				}
			}))
			defer server.Close()
			base, err := url.Parse(server.URL + row.prefix)
			if err != nil {
				t.Fatal(err)
			}
			c, err := controlclient.New(controlclient.Options{BaseURL: base, Token: row.token})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if err := row.ask(t.Context(), c); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(row.want, <-got); diff != "" {
				t.Errorf("request (-want +got):\n%s", diff)
			}
		})
	}
}

func TestNamesThatCanNotBeAskNobody(t *testing.T) {
	c := serve(t, func(_ http.ResponseWriter, r *http.Request) { t.Errorf("asked %s", r.URL) })
	for _, row := range []struct {
		name, id, token string
		want            error
	}{
		{"empty id", "", secret, tunnel.ErrUnknown},
		{"id with a slash", "a/b", secret, tunnel.ErrUnknown},
		{"empty token", "t", "", tunnel.ErrUnauthorized},
		{"token that is no text", "t", "\xff", tunnel.ErrUnauthorized},
		{"token beyond all bounds", "t", strings.Repeat("a", controlclient.MaxTokenBytes+1), tunnel.ErrUnauthorized},
	} {
		t.Run(row.name, func(t *testing.T) {
			_, err := c.Validate(t.Context(), tunnel.ID(row.id), row.token)
			wantError(t, "Validate", err, row.want)
		})
	}
	for _, slug := range []tunnel.Slug{"", "..", "a/b", "a?b"} {
		_, err := c.Resolve(t.Context(), slug)
		wantError(t, fmt.Sprintf("Resolve(%q)", slug), err, tunnel.ErrUnknown)
	}
}

func TestNothingListens(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	base := "http://" + l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	c := dial(t, base)
	_, err = c.Validate(t.Context(), "t", secret)
	wantError(t, "Validate", err, controlclient.ErrAway)
	_, err = c.Resolve(t.Context(), "slug")
	wantError(t, "Resolve", err, controlclient.ErrAway)
	wantError(t, "Health", c.Health(t.Context()), controlclient.ErrAway)
}

func TestBrokenConnections(t *testing.T) {
	for _, row := range []struct {
		name, input string
	}{
		{"closed without a word", ""},
		{"no HTTP, with the token in it", secret + " " + secret + " " + secret + "\r\n\r\n"},
		{"ends inside the header", "HTTP/1.1 200 OK\r\nContent-Le"},
		{"ends inside the body", "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + okValidation},
		{"ends inside a chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfff\r\n" + okValidation},
		{"header without end", "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("a", 1<<20)},
	} {
		t.Run(row.name, func(t *testing.T) {
			c := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				conn, _, err := http.NewResponseController(w).Hijack()
				if err != nil {
					t.Error(err)
					return
				}
				_, _ = io.WriteString(conn, row.input)
				_ = conn.Close()
			})
			_, err := c.Validate(t.Context(), "t", secret)
			wantError(t, "Validate", err, controlclient.ErrAway)
		})
	}
}

func TestAnswerSize(t *testing.T) {
	for _, row := range []struct {
		name  string
		input int
		want  error
	}{
		{"at the limit", controlclient.MaxAnswerBytes, nil},
		{"a byte more", controlclient.MaxAnswerBytes + 1, controlclient.ErrNonsense},
		{"much more", 8 * controlclient.MaxAnswerBytes, controlclient.ErrNonsense},
	} {
		t.Run(row.name, func(t *testing.T) {
			c := serve(t, says(200, okValidation+strings.Repeat(" ", row.input-len(okValidation))))
			_, err := c.Validate(t.Context(), "t", secret)
			wantError(t, "Validate", err, row.want)
		})
	}
}

func TestConnectionsAreReused(t *testing.T) {
	var mu sync.Mutex
	callers := make(map[string]bool)
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		callers[r.RemoteAddr] = true
		n := len(callers)
		mu.Unlock()
		says([]int{200, 401, 404, 503}[n%4], okValidation)(w, r)
	})
	for range 20 {
		_, _ = c.Validate(t.Context(), "t", secret)
	}
	if len(callers) != 1 {
		t.Errorf("%d connections for questions one after the other, want 1", len(callers))
	}
}

// A server may close an idle connection at the very moment it is used again.
func TestAClosedPooledConnectionIsNotAway(t *testing.T) {
	var mu sync.Mutex
	seen := make(map[string]int)
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		seen[r.RemoteAddr]++
		again := seen[r.RemoteAddr] > 1
		mu.Unlock()
		if again {
			panic(http.ErrAbortHandler)
		}
		says(200, okValidation)(w, r)
	})
	for range 3 {
		if _, err := c.Validate(t.Context(), "t", secret); err != nil {
			t.Fatal(err)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	for _, row := range []struct{ name, input string }{
		{"nothing", ""},
		{"no scheme", "localhost:8000"},
		{"no host", "http:///api"},
		{"another scheme", "ftp://localhost"},
	} {
		t.Run(row.name, func(t *testing.T) {
			u, err := url.Parse(row.input)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := controlclient.New(controlclient.Options{BaseURL: u}); err == nil {
				t.Error("New succeeded")
			}
		})
	}
	if _, err := controlclient.New(controlclient.Options{}); err == nil {
		t.Error("New without URL and transport succeeded")
	}
}
