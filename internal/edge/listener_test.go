package edge

import (
	"bytes"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// meet gives both ends of a connection through l.
func meet(t *testing.T, l *publicListener) (caller, accepted net.Conn) {
	t.Helper()
	caller, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	accepted, err = l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(30 * time.Second)
	_ = caller.SetDeadline(deadline)
	t.Cleanup(func() { caller.Close(); accepted.Close() })
	return caller, accepted
}

func listenHere(t *testing.T, c *crowd, b *balancer) *publicListener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return &publicListener{Listener: l, crowd: c, balancer: b}
}

func TestBalancerHeader(t *testing.T) {
	t.Parallel()
	local := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	for _, row := range []struct {
		name    string
		proxies []netip.Prefix
		input   string
		want    string // "" = the load balancer's own, "closed"
	}{
		{"a caller", local, "PROXY TCP4 192.0.2.7 10.0.0.1 12345 443\r\n", "192.0.2.7:12345"},
		{"the load balancer itself", local, "PROXY UNKNOWN\r\n", ""},
		{"none", local, "GET / HTTP/1.1\r\n\r\n", "closed"},
		{"from anybody", []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, "PROXY TCP4 192.0.2.7 10.0.0.1 12345 443\r\n", "closed"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			var log bytes.Buffer
			l := listenHere(t, &crowd{}, &balancer{proxies: row.proxies, log: slog.New(slog.NewTextHandler(&log, nil))})
			caller, accepted := meet(t, l)
			if _, err := io.WriteString(caller, row.input+"hello"); err != nil {
				t.Fatal(err)
			}
			var both sync.WaitGroup // net/http asks while it reads
			for range 2 {
				both.Go(func() { accepted.RemoteAddr() })
			}
			both.Wait()
			got := make([]byte, 5)
			_, err := io.ReadFull(accepted, got)
			if row.want == "closed" {
				if err == nil || !strings.Contains(log.String(), "PROXY header") {
					t.Errorf("read %q, logged %q", got, log.String())
				}
				if _, err := caller.Read(got); err == nil {
					t.Error("the connection is open")
				}
				return
			}
			want := row.want
			if want == "" {
				want = caller.LocalAddr().String()
			}
			if addr := accepted.RemoteAddr().String(); err != nil || string(got) != "hello" || addr != want {
				t.Errorf("read %q (%v) from %s, want it from %s", got, err, addr, want)
			}
			if log.Len() > 0 {
				t.Errorf("logged %s", log.String())
			}
		})
	}
}

// Connections over the limit are told so; far over it they are closed, so that
// the limit bounds what they hold.
func TestCrowd(t *testing.T) {
	t.Parallel()
	var refused atomic.Int64
	c := &crowd{limit: 2, refused: func() { refused.Add(1) }}
	l := listenHere(t, c, nil)
	var open []net.Conn
	for n := range int(c.limit + c.past()) {
		_, accepted := meet(t, l)
		if over := accepted.(*publicConn).over; over != (n >= 2) {
			t.Fatalf("connection %d is over the limit: %v", n+1, over)
		}
		open = append(open, accepted)
	}
	accepted := make(chan net.Conn)
	go func() {
		conn, _ := l.Accept()
		accepted <- conn
	}()
	late, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer late.Close()
	_ = late.SetDeadline(time.Now().Add(30 * time.Second))
	if _, err := late.Read(make([]byte, 1)); err == nil {
		t.Error("a connection far over the limit is open")
	}
	if n := refused.Load(); n != 1 {
		t.Errorf("%d were counted as not answered, want 1", n)
	}
	for range 2 {
		open[0].Close() // counts once
	}
	next, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer next.Close()
	if conn := <-accepted; conn == nil || !conn.(*publicConn).over {
		t.Errorf("with one gone the next is %v", conn)
	} else {
		conn.Close()
	}
	if n := c.open.Load(); n != c.limit+c.past()-1 {
		t.Errorf("%d are open", n)
	}
}
