// Command cluster starts a whole installation on this machine, in child
// processes and on 127.0.0.1: Redis, NATS if asked for, the control plane, three
// edges, a load balancer in front of them, and an agent with a demo site. It is
// deploy/compose.yaml without containers, to try things and to break them.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	var o options
	flag.IntVar(&o.pods, "pods", 3, "edges to start")
	flag.IntVar(&o.port, "port", 8080, "port of the load balancer; the pods listen on those after it")
	flag.StringVar(&o.relay, "relay", "direct", "what carries hops between pods: direct, nats or redis")
	flag.StringVar(&o.program, "program", "bin/bindu-edge", "the binary")
	flag.StringVar(&o.logs, "logs", "", "folder for the logs (default: a temporary one)")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o); err != nil && !errors.Is(err, context.Canceled) {
		fmt.Fprintln(os.Stderr, "cluster:", err)
		os.Exit(1)
	}
}

type options struct {
	pods, port           int
	relay, program, logs string
}

func run(ctx context.Context, o options) error {
	if o.pods < 1 || o.pods > 9 {
		return errors.New("-pods: 1 to 9")
	}
	if o.logs == "" {
		folder, err := os.MkdirTemp("", "bindu-edge-cluster-")
		if err != nil {
			return err
		}
		defer func() { _ = os.RemoveAll(folder) }()
		o.logs = folder
	}
	c := &cluster{options: o}
	defer c.stop()
	if err := c.start(ctx); err != nil {
		return err
	}
	c.tell()
	<-ctx.Done()
	fmt.Println("\nstopping: agents are asked to move, requests finish")
	return nil
}
