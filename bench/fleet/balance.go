package fleet

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

// balance leads each connection to the first pod that takes it, as a load balancer
// does that knows at once which pods are there.
func balance(ctx context.Context, l net.Listener, pods []string) error {
	defer context.AfterFunc(ctx, func() { _ = l.Close() })()
	var running sync.WaitGroup
	defer running.Wait()
	for {
		conn, err := l.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		running.Go(func() { lead(ctx, conn, pods) })
	}
}

// lead copies both ways until one end closes.
func lead(ctx context.Context, conn net.Conn, pods []string) {
	defer func() { _ = conn.Close() }() // both know
	pod, err := dial(ctx, pods)
	if err != nil {
		return
	}
	defer func() { _ = pod.Close() }()
	defer context.AfterFunc(ctx, func() { _, _ = conn.Close(), pod.Close() })()
	var back sync.WaitGroup
	back.Go(func() {
		_, _ = io.Copy(conn, pod) // an end, however it comes
		_ = conn.Close()
	})
	_, _ = io.Copy(pod, conn)
	_ = pod.Close()
	back.Wait()
}

func dial(ctx context.Context, pods []string) (net.Conn, error) {
	dialer := net.Dialer{Timeout: time.Second}
	var all error
	for _, pod := range pods {
		conn, err := dialer.DialContext(ctx, "tcp", pod)
		if err == nil {
			return conn, nil
		}
		all = errors.Join(all, err)
	}
	return nil, all
}
