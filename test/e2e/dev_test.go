package e2e

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// startDev runs `bindu-edge dev` and returns the URL that it printed, without
// the slash at its end.
func startDev(t *testing.T, env []string, args ...string) (*process, string) {
	t.Helper()
	p := start(t, "dev", env, append([]string{"dev"}, args...)...)
	p.waitLine("VERSION  ", 1) // loading a large binary is the machine's business
	began := time.Now()
	u := strings.TrimPrefix(p.waitLine("URL  ", 1), "URL  ")
	wantWithin(t, "printing the URL", began, 2*time.Second)
	return p, strings.TrimSuffix(u, "/")
}

// holdDefaultPort makes sure that somebody listens at 8080: h, or else whoever
// was there before.
func holdDefaultPort(t *testing.T, h http.Handler) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:8080")
	if err != nil {
		return
	}
	s := &httptest.Server{Listener: l, Config: &http.Server{Handler: h}}
	s.Start()
	t.Cleanup(s.Close)
}

// TestDevDemo is what somebody sees who has just heard of it.
func TestDevDemo(t *testing.T) {
	t.Parallel()
	p, site := startDev(t, []string{fmt.Sprint("PORT=", freePort(t))})
	if line := p.waitLine("TARGET  ", 1); !strings.Contains(line, "demo") {
		t.Errorf("the target is %q", line)
	}
	p.waitLine("NOTE  reachable from this machine only", 1)
	p.waitLine("NEXT  ", 2)

	if page := get(t, site+"/"); page.StatusCode != 200 || !strings.Contains(page.body, "<html") {
		t.Errorf("the page: %d %s", page.StatusCode, page.body)
	}
	if a := do(t, request(t.Context(), t, "POST", site+"/echo?secret=1", strings.NewReader("hello"))); !strings.Contains(a.body, `"body":"hello"`) {
		t.Errorf("the echo: %d %s", a.StatusCode, a.body)
	}
	if line := p.waitLine(" POST /echo 200 ", 1); strings.Contains(line, "secret") {
		t.Errorf("a query shows: %s", line)
	}
	if a := get(t, site+"/events?n=3&interval=0.05"); strings.Count(a.body, "data: ") != 4 {
		t.Errorf("the events: %d %q", a.StatusCode, a.body)
	}
	socket := dialSocket(t, site+"/ws")
	if err := socket.Write(t.Context(), websocket.MessageText, []byte("hello")); err != nil {
		t.Fatal(err)
	}
	if kind, text, err := socket.Read(t.Context()); err != nil || kind != websocket.MessageText || string(text) != "hello" {
		t.Errorf("the socket: %v %q %v", kind, text, err)
	}
	if err := socket.Close(websocket.StatusNormalClosure, ""); err != nil {
		t.Errorf("closing the socket: %v", err)
	}
	p.waitLine(" GET /ws 101 ", 1)
}

// On all addresses the tunnel is reachable from elsewhere, which is no public URL yet.
func TestDevOnAllAddresses(t *testing.T) {
	t.Parallel()
	p, _ := startDev(t, []string{"HOST=0.0.0.0", fmt.Sprint("PORT=", freePort(t))})
	p.waitLine("NEXT  ", 2)
	if n := p.count("this machine only"); n != 0 {
		t.Errorf("says that it is reachable from this machine only:\n%s", p.output())
	}
}

// Ctrl-C ends quickly even when a browser tab follows a stream.
func TestDevCtrlC(t *testing.T) {
	t.Parallel()
	p, site := startDev(t, []string{fmt.Sprint("PORT=", freePort(t))})
	res, err := client.Do(request(t.Context(), t, "GET", site+"/events", nil))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	if _, err := io.ReadFull(res.Body, make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	p.signal(syscall.SIGINT)
	began := time.Now()
	if code := p.wait(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	wantWithin(t, "ending", began, 1500*time.Millisecond)
	p.waitLine("DONE  1 request", 1)
}

func TestDevTarget(t *testing.T) {
	t.Parallel()
	port := freePort(t)
	p, site := startDev(t, []string{fmt.Sprint("PORT=", freePort(t))}, fmt.Sprint(port))
	p.waitLine("WARN nothing listens there yet", 1)
	wantError(t, get(t, site+"/"), 502, "local_service_unreachable")
	p.waitLine(`error="the local server can't be reached"`, 1)

	l, err := net.Listen("tcp", fmt.Sprint("127.0.0.1:", port))
	if err != nil {
		t.Fatal(err) // freePort gives no port twice
	}
	s := &httptest.Server{Listener: l, Config: &http.Server{Handler: echo}}
	s.Start()
	t.Cleanup(s.Close)
	if a := get(t, site+"/now"); a.StatusCode != 200 || a.Header.Get("X-Uri") != "/now" {
		t.Errorf("once it listens: %d %s", a.StatusCode, a.body)
	}
	p.waitLine("the local service answers again", 1)
}

// The default port is only a wish; one that was given is a must.
func TestDevPorts(t *testing.T) {
	t.Parallel()
	holdDefaultPort(t, echo)
	_, site := startDev(t, nil)
	if u, err := url.Parse(site); err != nil || u.Port() == "8080" {
		t.Errorf("the URL is %s though 8080 is busy", site)
	}
	if got := status(t, site+"/health"); got != 200 {
		t.Errorf("on another port: %d", got)
	}

	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = busy.Close() }()
	port := busy.Addr().(*net.TCPAddr).Port
	tests := []struct {
		name string
		env  []string
		args []string
		want string
	}{
		{"busy by variable", []string{fmt.Sprint("PORT=", port)}, nil, fmt.Sprintf("bindu-edge: PORT: %d is in use: use another, or leave it out for the next free one", port)},
		{"busy by flag", nil, []string{fmt.Sprint("--port=", port)}, fmt.Sprintf("bindu-edge: --port: %d is in use: use another, or leave it out for the next free one", port)},
		{"exposed", []string{fmt.Sprint("PORT=", port)}, []string{fmt.Sprint(port)}, fmt.Sprintf("bindu-edge: PORT: %d is the port to expose: use another", port)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := start(t, "dev", tt.env, append([]string{"dev"}, tt.args...)...)
			if code := p.wait(); code != 2 {
				t.Errorf("exit code %d", code)
			}
			if got := p.output(); got != tt.want {
				t.Errorf("said %q, want %q", got, tt.want)
			}
		})
	}
}

// The default port may be the one that is exposed.
func TestDevExposesTheDefaultPort(t *testing.T) {
	t.Parallel()
	_, site := startDev(t, nil, "8080")
	if u, err := url.Parse(site); err != nil || u.Port() == "8080" {
		t.Errorf("the URL is %s", site)
	}
}
