package e2e

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// header1 and header2 are PROXY headers for a connection of 192.0.2.7.
const header1 = "PROXY TCP4 192.0.2.7 127.0.0.1 50000 443\r\n"

func header2(more int) string {
	b := append([]byte("\r\n\r\n\x00\r\nQUIT\n"), 0x21, 0x11, byte((12+more)>>8), byte(12+more))
	b = append(b, 192, 0, 2, 7, 127, 0, 0, 1, 0xc3, 0x50, 1, 0xbb)
	return string(b) + strings.Repeat("\x00", more)
}

// startFront runs a TCP load balancer that puts a header before each connection.
func startFront(t *testing.T, e *edge, header string) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	var mu sync.Mutex
	var open []net.Conn
	keep := func(c net.Conn) {
		mu.Lock()
		defer mu.Unlock()
		open = append(open, c)
	}
	t.Cleanup(func() {
		l.Close()
		mu.Lock()
		for _, c := range open {
			c.Close()
		}
		mu.Unlock()
		running.Wait()
	})
	running.Go(func() {
		for {
			caller, err := l.Accept()
			if err != nil {
				return
			}
			pod, err := net.Dial("tcp", e.addr)
			if err != nil {
				caller.Close()
				continue
			}
			keep(caller)
			keep(pod)
			_, _ = io.WriteString(pod, header)
			both := func(to, from net.Conn) {
				_, _ = io.Copy(to, from)
				to.Close()
			}
			running.Go(func() { both(pod, caller) })
			running.Go(func() { both(caller, pod) })
		}
	})
	return l.Addr().String()
}

func TestProxyProtocol(t *testing.T) {
	t.Parallel()
	ca, pair, p := newAuthority(t), newKeyPair(t), startPlane(t)
	ca.issue(t, pair, 2)
	for _, row := range []struct {
		name, proto string
		env         []string
		wrap        func(net.Conn) net.Conn
	}{
		{"plain", "http", nil, func(c net.Conn) net.Conn { return c }},
		{"TLS", "https", serveTLS(pair), func(c net.Conn) net.Conn {
			return tls.Client(c, &tls.Config{RootCAs: ca.Roots, ServerName: "localhost"})
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			e := launchEdge(t, p, append(row.env, "PROXY_PROTOCOL=true", "TRUSTED_PROXIES=127.0.0.0/8")...)
			cred := p.create(t, "")
			linkTo(t, ca, row.proto+"://"+startFront(t, e, header1), cred, startOrigin(t, http.HandlerFunc(seen)))
			if line := e.waitLine(`"tunnel connect"`, 1); !strings.Contains(line, `"remote_addr":"192.0.2.7:50000"`) {
				t.Errorf("the agent's address is not the caller's: %s", line)
			}
			for _, caller := range []struct{ name, header, want string }{
				{"version 1", header1, "192.0.2.7"},
				{"version 2", header2(0), "192.0.2.7"},
				{"version 2 with more", header2(2000), "192.0.2.7"},
				{"the load balancer itself", "PROXY UNKNOWN\r\n", "127.0.0.1"},
			} {
				raw := dialRaw(t, e)
				raw.send(caller.header)
				conn := row.wrap(raw)
				// What a caller says of itself is not believed: the load balancer is
				// trusted, whom it speaks for is not.
				text := "GET /local_tunnel/" + string(cred.slug) + "/ HTTP/1.1\r\nHost: x\r\n"
				if caller.want != "127.0.0.1" {
					text += "X-Forwarded-For: 198.51.100.1\r\n"
				}
				if _, err := io.WriteString(conn, text+"\r\n"); err != nil {
					t.Fatal(err)
				}
				c := &wireCaller{t: t, Conn: conn, read: bufio.NewReader(conn)}
				want := row.proto + " for " + caller.want + " via 1.1 bindu-edge"
				if a := c.answer("GET"); a.StatusCode != 200 || a.body != want {
					t.Errorf("%s: %d %q, want %q", caller.name, a.StatusCode, a.body, want)
				}
			}
			for _, caller := range []struct{ name, text string }{
				{"no header", "GET / HTTP/1.1\r\nHost: x\r\n\r\n"},
				{"half a header", header1[:20]},
				{"a header of nonsense", "PROXY TCP4 192.0.2.7 127.0.0.1 99999 443\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n"},
			} {
				c := dialRaw(t, e)
				c.send(caller.text)
				began := time.Now()
				if n, _ := c.Read(make([]byte, 1)); n > 0 {
					t.Errorf("%s: answered", caller.name)
				}
				wantWithin(t, caller.name, began, 5*time.Second)
			}
			e.waitLine("without a usable PROXY header", 1)
		})
	}
}

// Only the load balancer may say whose a connection is.
func TestProxyProtocolFromStrangers(t *testing.T) {
	t.Parallel()
	e := launchEdge(t, nil, "PROXY_PROTOCOL=true", "TRUSTED_PROXIES=10.0.0.0/8")
	c := dialRaw(t, e)
	c.send(header1 + "GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
	if n, _ := c.Read(make([]byte, 1)); n > 0 {
		t.Error("a stranger's header is believed")
	}
	e.waitLine("does not come from TRUSTED_PROXIES", 1)

	refused := start(t, "edge", edgeEnv(t, nil, "PROXY_PROTOCOL=true"), "serve")
	if code := refused.wait(); code != 2 || refused.count("PROXY_PROTOCOL: needs TRUSTED_PROXIES") != 1 {
		t.Errorf("without TRUSTED_PROXIES it ends with %d", code)
	}
}
