package e2e

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

// launchEdge runs a pod that can't be asked over plain HTTP whether it is ready.
func launchEdge(t *testing.T, p *plane, env ...string) *edge {
	t.Helper()
	e := &edge{env: edgeEnv(t, p, env...)}
	for _, v := range e.env {
		if port, ok := strings.CutPrefix(v, "PORT="); ok {
			e.addr = "127.0.0.1:" + port
			e.url = "https://" + e.addr
		}
		if admin, ok := strings.CutPrefix(v, "ADMIN_ADDR="); ok {
			e.admin = "http://" + admin
		}
	}
	e.process = startProgram(t, "edge", binary, e.env, "serve")
	e.waitLine(`"serving"`, 1)
	eventually(t, "the edge is ready", func() bool { return status(t, e.admin+"/health/ready") == http.StatusOK })
	return e
}

// linkTo starts an agent that believes a, or nobody in particular.
func linkTo(t *testing.T, a *authority, url string, c credentials, target string) *process {
	t.Helper()
	env := []string{"BINDU_EDGE_URL=" + url, "BINDU_TUNNEL_ID=" + string(c.id), "BINDU_TUNNEL_TOKEN=" + c.token}
	if a != nil {
		env = append(env, "SSL_CERT_FILE="+a.file)
	}
	p := start(t, "agent", env, "http", target, "--no-ui", "--log-format=json")
	p.waitLine("STATUS online", 1)
	return p
}

// seen is an origin that tells how the request looked.
func seen(w http.ResponseWriter, r *http.Request) {
	_, _ = fmt.Fprintf(w, "%s for %s via %s", r.Header.Get("X-Forwarded-Proto"), r.Header.Get("X-Forwarded-For"), r.Header.Get("Via"))
}

// fetch reads one answer through c.
func fetch(t *testing.T, c *http.Client, url string) answer {
	t.Helper()
	res, err := c.Do(request(t.Context(), t, http.MethodGet, url, nil))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{res, string(body)}
}

func TestTLS(t *testing.T) {
	t.Parallel()
	ca, pair, p := newAuthority(t), newKeyPair(t), startPlane(t)
	ca.issue(t, pair, 2)
	redirect := freePort(t)
	e := launchEdge(t, p, append(serveTLS(pair), "BASE_DOMAIN=tunnels.example", fmt.Sprint("REDIRECT_HTTP_PORT=", redirect))...)
	cred := p.create(t, "")
	linkTo(t, ca, e.url, cred, startOrigin(t, http.HandlerFunc(seen)))
	_, port, _ := net.SplitHostPort(e.addr)

	t.Run("its own URL is https", func(t *testing.T) {
		if line := e.waitLine(`"serving"`, 1); !strings.Contains(line, `"public_url":"https://localhost:`+port+`"`) {
			t.Error(line)
		}
	})
	for _, row := range []struct {
		name  string
		http2 bool
		want  string
	}{
		{"HTTP/1.1", false, "https for 127.0.0.1 via 1.1 bindu-edge"},
		{"HTTP/2", true, "https for 127.0.0.1 via 2.0 bindu-edge"},
	} {
		t.Run(row.name, func(t *testing.T) {
			c := ca.caller(t, row.http2)
			if a := fetch(t, c, e.path(cred, "/")); a.StatusCode != 200 || a.body != row.want {
				t.Errorf("by path: %d %q, want %q", a.StatusCode, a.body, row.want)
			}
			// The wildcard's certificate is verified for the tunnel's own host.
			c.Transport.(*http.Transport).DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
				return (&net.Dialer{}).DialContext(ctx, network, e.addr)
			}
			if a := fetch(t, c, "https://"+string(cred.slug)+".tunnels.example/"); a.StatusCode != 200 || a.body != row.want {
				t.Errorf("by host: %d %q, want %q", a.StatusCode, a.body, row.want)
			}
		})
	}
	t.Run("old TLS", func(t *testing.T) {
		for _, row := range []struct {
			name   string
			config *tls.Config
			ok     bool
		}{
			{"TLS 1.3", &tls.Config{MinVersion: tls.VersionTLS13}, true},
			{"TLS 1.2", &tls.Config{MaxVersion: tls.VersionTLS12}, true},
			{"TLS 1.2, CBC", &tls.Config{MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA}}, false},
			{"TLS 1.1", &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}, false},
		} {
			row.config.RootCAs = ca.Roots
			conn, err := tls.Dial("tcp", e.addr, row.config)
			if err == nil {
				conn.Close()
			}
			if (err == nil) != row.ok {
				t.Errorf("%s: %v", row.name, err)
			}
		}
	})
	t.Run("plain HTTP", func(t *testing.T) {
		c := dialRaw(t, e)
		c.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		if a := c.answer("GET"); a.StatusCode != 400 {
			t.Errorf("got %d %s", a.StatusCode, a.body)
		}
	})
	t.Run("redirect", func(t *testing.T) {
		from := fmt.Sprintf("http://127.0.0.1:%d", redirect)
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			a := do(t, request(t.Context(), t, method, from+"/local_tunnel/s/a%2Fb?c", strings.NewReader("body")))
			if want := "https://127.0.0.1:" + port + "/local_tunnel/s/a%2Fb?c"; a.StatusCode != 308 || a.Header.Get("Location") != want {
				t.Errorf("%s: %d %q, want 308 %q", method, a.StatusCode, a.Header.Get("Location"), want)
			}
		}
		for _, path := range []string{"/health/live", "/health/ready"} {
			if got := status(t, from+path); got != 200 {
				t.Errorf("%s: %d", path, got)
			}
		}
	})
	t.Run("an agent over HTTP/2", func(t *testing.T) {
		req := request(t.Context(), t, http.MethodGet, e.url+"/ws/"+string(cred.id), nil)
		req.Header.Set("X-Tunnel-Token", cred.token)
		req.Header.Set("Sec-WebSocket-Protocol", "bindu.h2")
		res, err := ca.caller(t, true).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		if res.StatusCode != 400 {
			t.Errorf("got %d", res.StatusCode)
		}
	})
}

// A renewed certificate is shown to the next connection; a half-written one is
// not, and the agent's link outlives all of it.
func TestTLSReload(t *testing.T) {
	t.Parallel()
	ca, pair, p := newAuthority(t), newKeyPair(t), startPlane(t)
	ca.issue(t, pair, 2)
	e := launchEdge(t, p, serveTLS(pair)...)
	cred := p.create(t, "")
	agent := linkTo(t, ca, e.url, cred, startOrigin(t, http.HandlerFunc(seen)))
	shown := func() int64 {
		conn, err := tls.Dial("tcp", e.addr, &tls.Config{RootCAs: ca.Roots})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		return conn.ConnectionState().PeerCertificates[0].SerialNumber.Int64()
	}
	if got := shown(); got != 2 {
		t.Fatalf("certificate %d is shown, want 2", got)
	}
	ca.issue(t, pair, 3)
	eventually(t, "the renewed certificate is shown", func() bool { return shown() == 3 })
	text, err := os.ReadFile(pair.key)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(pair.key, text[:len(text)/2], 0o600); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the broken key is noticed", func() bool {
		if got := shown(); got != 3 {
			t.Fatalf("certificate %d is shown, want 3", got)
		}
		return e.count("a certificate can't be read again") > 0
	})
	if a := fetch(t, ca.caller(t, true), e.path(cred, "/")); a.StatusCode != 200 {
		t.Errorf("got %d %s", a.StatusCode, a.body)
	}
	if n := agent.count("STATUS online"); n != 1 {
		t.Errorf("the agent linked %d times", n)
	}
}

// A connection that has not shaken hands counts, and has ten seconds.
func TestTLSHandshakeNeverMade(t *testing.T) {
	t.Parallel()
	ca, pair := newAuthority(t), newKeyPair(t)
	ca.issue(t, pair, 2)
	e := launchEdge(t, nil, append(serveTLS(pair), "MAX_CONNECTIONS=2")...)
	began := time.Now()
	var silent []*wireCaller
	for range 2 {
		silent = append(silent, dialRaw(t, e))
	}
	wantProblem(t, fetch(t, ca.caller(t, false), e.url+"/nothing"), 503, "edge_overloaded")
	for _, c := range silent {
		c.wantEnded()
	}
	if took := time.Since(began); took < 9*time.Second {
		t.Errorf("ended after %s, want 10 s", took)
	}
	eventually(t, "room again", func() bool {
		return fetch(t, ca.caller(t, false), e.url+"/nothing").StatusCode == http.StatusNotFound
	})
}

func TestTLSFilesMustBeRight(t *testing.T) {
	t.Parallel()
	ca, pair, other := newAuthority(t), newKeyPair(t), newKeyPair(t)
	ca.issue(t, pair, 2)
	ca.issue(t, other, 3)
	e := start(t, "edge", edgeEnv(t, nil, serveTLS(keyPair{pair.cert, other.key})...), "serve")
	if code := e.wait(); code != 2 || e.count("TLS_CERT_FILE: certificate "+pair.cert) != 1 {
		t.Errorf("ended with %d", code)
	}
}
