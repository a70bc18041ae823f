package stage

import (
	"context"
	"fmt"
	"net"
)

// Redis starts a redis-server and returns its port.
func (s *Stage) Redis(ctx context.Context) (port int, err error) {
	return s.server(ctx, "redis-server", func(port int) []string {
		return []string{"--port", fmt.Sprint(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"}
	})
}

// NATS starts a nats-server and returns its port.
func (s *Stage) NATS(ctx context.Context) (port int, err error) {
	return s.server(ctx, "nats-server", func(port int) []string {
		return []string{"-a", "127.0.0.1", "-p", fmt.Sprint(port)}
	})
}

// server starts a program that listens on a port, and waits until it does.
func (s *Stage) server(ctx context.Context, program string, args func(port int) []string) (int, error) {
	port, err := s.port()
	if err != nil {
		return 0, err
	}
	p, err := s.run(program, nil, program, args(port)...)
	if err != nil {
		return 0, err
	}
	var dialer net.Dialer
	return port, p.until(ctx, func() bool {
		conn, err := dialer.DialContext(ctx, "tcp", local(port))
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	})
}

// At is the URL of an agent's tunnel by way of another pod.
func (a *Agent) At(e *Edge) string { return "http://" + e.Addr + a.URL[len("http://")+len(a.edge):] }
