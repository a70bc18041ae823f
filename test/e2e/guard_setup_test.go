package e2e

import (
	"crypto/pbkdf2"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/getbindu/bindu-edge/internal/tunnel"
)

// guarded is two pods on one control plane that says of each tunnel what a test
// wants. All agents are at the first pod; a caller's address is whatever it says.
type guarded struct {
	*cluster
	plane  *fakePlane
	held   atomic.Pointer[held] // what answers /held
	origin string
	made   int
}

func startGuarded(t *testing.T, env ...string) *guarded {
	t.Helper()
	g := &guarded{plane: startFakePlane(t)}
	g.cluster = startCluster(t, "direct", 2, append(g.plane.env("TRUSTED_PROXIES=127.0.0.1", "TUNNEL_REVALIDATE_SECONDS=0.3"), env...)...)
	mux := guardedOrigin()
	mux.HandleFunc("/held", func(w http.ResponseWriter, r *http.Request) { g.held.Load().ServeHTTP(w, r) })
	g.origin = startOrigin(t, mux)
	return g
}

// guardedOrigin answers in each way that a limit looks at.
func guardedOrigin() *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("/", echo)
	mux.HandleFunc("/header", showHeader)
	mux.HandleFunc("/socket", sockets(make(chan struct{}, 100)))
	mux.HandleFunc("/answer/{size}", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", r.PathValue("size"))
		writeX(w, r)
	})
	mux.HandleFunc("/stream/{size}", func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).Flush()
		writeX(w, r)
	})
	mux.HandleFunc("/events/{size}", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		_ = http.NewResponseController(w).Flush()
		writeX(w, r)
	})
	return mux
}

func writeX(w io.Writer, r *http.Request) {
	size, err := strconv.Atoi(r.PathValue("size"))
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	_, _ = io.WriteString(w, strings.Repeat("x", size))
}

// terms is what the control plane says of an active tunnel beside that it is.
func (g *guarded) terms(c credentials, terms string) {
	if terms != "" {
		terms = "," + terms
	}
	g.plane.on(string(c.id), raws(fmt.Sprintf(`{"valid":true,"tunnel_id":%q,"slug":%q,"status":"active","expires_at":%q%s}`, c.id, c.slug, inAnHour(), terms)))
}

// tunnel makes one with an agent at the first pod.
func (g *guarded) tunnel(t *testing.T, terms string, args ...string) credentials {
	t.Helper()
	g.made++
	name := fmt.Sprint("guarded-", g.made)
	c := credentials{tunnel.ID(name), tunnel.Slug(name), "token"}
	g.terms(c, terms)
	startAgent(t, g.pods[0], c, g.origin, args...)
	return c
}

// door is one way to a tunnel.
type door struct {
	*edge
	c credentials
}

// each runs check for a tunnel that is asked for at the pod that holds it, and for
// another one that is asked for at the other pod.
func (g *guarded) each(t *testing.T, terms string, check func(*testing.T, door)) {
	t.Helper()
	for i, name := range []string{"one pod", "two pods"} {
		c := g.tunnel(t, terms)
		t.Run(name, func(t *testing.T) { check(t, door{g.pods[i], c}) })
	}
}

func (d door) request(t *testing.T, method, path, body string, fields ...string) *http.Request {
	t.Helper()
	req := request(t.Context(), t, method, d.path(d.c, path), strings.NewReader(body))
	for i := 0; i < len(fields); i += 2 {
		req.Header.Set(fields[i], fields[i+1])
	}
	return req
}

// get asks with fields, in pairs of name and value.
func (d door) get(t *testing.T, path string, fields ...string) answer {
	t.Helper()
	return do(t, d.request(t, http.MethodGet, path, "", fields...))
}

func wantOK(t *testing.T, what string, a answer) {
	t.Helper()
	if a.StatusCode != http.StatusOK {
		t.Errorf("%s: got %d %s", what, a.StatusCode, a.body)
	}
}

// wantDetail checks a refusal that says which limit it was.
func wantDetail(t *testing.T, a answer, status int, code, detail string) {
	t.Helper()
	wantError(t, a, status, code)
	if !strings.Contains(a.body, detail) {
		t.Errorf("it does not say %q: %s", detail, a.body)
	}
}

// weakHash is the hash of a secret with one round, for tests that guess a lot.
func weakHash(t *testing.T, secret string) string {
	t.Helper()
	salt := []byte("some salt of a test")
	sum, err := pbkdf2.Key(sha256.New, secret, salt, 1, sha256.Size)
	if err != nil {
		t.Fatal(err)
	}
	code := base64.RawStdEncoding
	return "$pbkdf2-sha256$i=1$" + code.EncodeToString(salt) + "$" + code.EncodeToString(sum)
}
