package chaos

import (
	"context"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/getbindu/bindu-edge/test/child"
)

// path is a way between a pod and others that can be cut: a TCP proxy.
type path struct {
	t        *testing.T
	addr     string
	to       string
	listener net.Listener // nil while shut
	running  sync.WaitGroup

	mu     sync.Mutex
	mode   cut
	healed chan struct{} // closed when the path is whole
	conns  map[net.Conn]bool
}

// cut is how a path is broken.
type cut string

const (
	whole  cut = "whole"
	broken cut = "broken" // connections end, and new ones at once
	silent cut = "silent" // nothing that is sent arrives before the path is whole
)

// startPath makes a way to an address. It is shut to begin with.
func startPath(t *testing.T, to string) *path {
	t.Helper()
	p := &path{t: t, addr: child.Address(child.FreePort(t)), to: to, mode: whole, healed: make(chan struct{}), conns: map[net.Conn]bool{}}
	close(p.healed)
	t.Cleanup(func() {
		p.shut()
		p.cut(broken)
		p.running.Wait()
	})
	return p
}

// open lets connections in.
func (p *path) open() {
	p.t.Helper()
	l, err := net.Listen("tcp", p.addr)
	if err != nil {
		p.t.Fatal(err)
	}
	p.listener = l
	p.running.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			p.running.Go(func() { p.serve(p.t.Context(), in) })
		}
	})
}

// shut refuses connections from now on, as the machine of a process that has
// ended does.
func (p *path) shut() {
	if p.listener != nil {
		_ = p.listener.Close()
		p.listener = nil
	}
}

func (p *path) serve(ctx context.Context, in net.Conn) {
	defer func() { _ = in.Close() }()
	if !p.keep(in) {
		return
	}
	defer p.forget(in)
	if !p.await(ctx) {
		return
	}
	out, err := net.DialTimeout("tcp", p.to, 2*time.Second)
	if err != nil {
		return
	}
	defer func() { _ = out.Close() }()
	if !p.keep(out) {
		return
	}
	defer p.forget(out)
	var copying sync.WaitGroup
	for _, pair := range [][2]net.Conn{{in, out}, {out, in}} {
		copying.Go(func() {
			defer func() { _, _ = in.Close(), out.Close() }() // one end is the end
			_, _ = io.Copy(pair[0], patient{pair[1], func() bool { return p.await(ctx) }})
		})
	}
	copying.Wait()
}

// patient reads, and hands on only what may pass.
type patient struct {
	io.Reader
	await func() bool
}

func (r patient) Read(b []byte) (int, error) {
	n, err := r.Reader.Read(b)
	if !r.await() {
		return 0, net.ErrClosed
	}
	return n, err
}

// await returns true when the path is whole, and false when it is broken.
func (p *path) await(ctx context.Context) bool {
	for {
		p.mu.Lock()
		mode, healed := p.mode, p.healed
		p.mu.Unlock()
		if mode != silent {
			return mode == whole
		}
		select {
		case <-healed:
		case <-ctx.Done():
			return false
		}
	}
}

func (p *path) keep(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.conns[c] = true
	return p.mode != broken
}

func (p *path) forget(c net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, c)
}

func (p *path) cut(mode cut) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mode == whole {
		p.healed = make(chan struct{})
	}
	p.mode = mode
	if mode == broken {
		for c := range p.conns {
			_ = c.Close()
		}
	}
}

func (p *path) heal() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mode != whole {
		p.mode = whole
		close(p.healed)
	}
}
