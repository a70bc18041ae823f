package chaos

import (
	"context"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// balancer sends each connection to the next pod that says it is ready, and to
// another one only when that does not take the connection: nothing has been sent
// then.
type balancer struct {
	addr string
	pods []*backend
	next atomic.Uint64

	doors sync.Map // address of a caller → *int, index of the pod that it was sent to
}

type backend struct {
	addr  string
	ready atomic.Bool
}

// healthEvery is how often a pod is asked, and healthTimeout how long it has to
// answer.
const (
	healthEvery   = 200 * time.Millisecond
	healthTimeout = time.Second
)

func startBalancer(t *testing.T, addrs []string) *balancer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &balancer{addr: l.Addr().String()}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	t.Cleanup(func() {
		cancel()
		_ = l.Close()
		running.Wait()
	})
	for _, addr := range addrs {
		pod := &backend{addr: addr}
		b.pods = append(b.pods, pod)
		running.Go(func() { pod.watch(ctx) })
	}
	running.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() { b.serve(ctx, conn) })
		}
	})
	return b
}

func (p *backend) watch(ctx context.Context) {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: healthTimeout}
	for ctx.Err() == nil {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.addr+"/health/ready", nil)
		if err != nil {
			return
		}
		res, err := client.Do(req)
		if err == nil {
			_ = res.Body.Close()
		}
		p.ready.Store(err == nil && res.StatusCode == http.StatusOK)
		pause(ctx, healthEvery)
	}
}

// serve forwards one connection. A side that was broken off breaks the other.
func (b *balancer) serve(ctx context.Context, in net.Conn) {
	defer func() { _ = in.Close() }()
	out, pod := b.dial(ctx)
	if out == nil {
		return
	}
	defer func() { _ = out.Close() }()
	caller := in.RemoteAddr().String()
	b.doors.Store(caller, &pod)
	defer time.AfterFunc(10*time.Second, func() { // the caller looks soon
		b.doors.CompareAndDelete(caller, &pod) // unless another one has the address by then
	})
	join(ctx, in, out)
}

// dial tries each pod at most once, ready ones first.
func (b *balancer) dial(ctx context.Context) (net.Conn, int) {
	first := b.next.Add(1)
	for _, wanted := range []bool{true, false} {
		for i := range b.pods {
			n := int((first + uint64(i)) % uint64(len(b.pods)))
			pod := b.pods[n]
			if pod.ready.Load() != wanted {
				continue
			}
			dialer := net.Dialer{Timeout: 2 * time.Second}
			conn, err := dialer.DialContext(ctx, "tcp", pod.addr)
			if err == nil {
				return conn, n
			}
			pod.ready.Store(false)
			if ctx.Err() != nil {
				return nil, -1
			}
		}
	}
	return nil, -1
}

// door is where a caller was sent to, by its local address; -1 = nowhere.
func (b *balancer) door(caller string) int {
	if n, ok := b.doors.Load(caller); ok {
		return *n.(*int)
	}
	return -1
}

// join copies both ways until both have ended, one has broken, or ctx ends.
func join(ctx context.Context, a, b net.Conn) {
	ended := make(chan error, 2)
	for _, pair := range [][2]net.Conn{{a, b}, {b, a}} {
		go func() {
			_, err := io.Copy(pair[0], pair[1])
			if half, ok := pair[0].(*net.TCPConn); ok && err == nil {
				err = half.CloseWrite()
			}
			ended <- err
		}()
	}
	for range 2 {
		select {
		case err := <-ended:
			if err != nil {
				return
			}
		case <-ctx.Done():
			return
		}
	}
}
