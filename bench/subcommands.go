package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/getbindu/bindu-edge/bench/fleet"
	"github.com/getbindu/bindu-edge/bench/load"
	"github.com/getbindu/bindu-edge/bench/origin"
	"github.com/getbindu/bindu-edge/bench/rawagent"
)

// subcommands are what the benchmark starts of itself as processes of their own.
var subcommands = map[string]func(ctx context.Context, args []string, stdout io.Writer) error{
	"origin": serveOrigin,
	"agents": holdAgents,
	"fleet":  runFleet,
	"load":   putLoad,
}

// serveOrigin is `bench origin ADDRESS`.
func serveOrigin(ctx context.Context, args []string, _ io.Writer) error {
	if len(args) != 1 {
		return errors.New("usage: bench origin ADDRESS")
	}
	server := &http.Server{Addr: args[0], Handler: origin.Handler(), ReadHeaderTimeout: 10 * time.Second}
	defer context.AfterFunc(ctx, func() { _ = server.Close() })() // streams are cut: their reader has gone
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// runFleet is `bench fleet FILE POD [POD]`.
func runFleet(ctx context.Context, args []string, stdout io.Writer) error {
	if len(args) < 2 {
		return errors.New("usage: bench fleet FILE POD [POD]")
	}
	text, err := os.ReadFile(args[0])
	if err != nil {
		return err
	}
	var tunnels []fleet.Tunnel
	if err := json.Unmarshal(text, &tunnels); err != nil {
		return fmt.Errorf("%s: %w", args[0], err)
	}
	var lines sync.Mutex
	return fleet.New(fleet.Options{Pods: args[1:], Tunnels: tunnels, Serves: func(slug string, at time.Time) {
		lines.Lock()
		defer lines.Unlock()
		fmt.Fprintf(stdout, "serves %s %d\n", slug, at.UnixNano())
	}}).Run(ctx)
}

// putLoad is `bench load URL STATUS CONNECTIONS RATE DURATION`: an open loop whose
// answers have that status and any body. It says how many a second there were.
func putLoad(ctx context.Context, args []string, stdout io.Writer) error {
	if len(args) != 5 {
		return errors.New("usage: bench load URL STATUS CONNECTIONS RATE DURATION")
	}
	status, err1 := strconv.Atoi(args[1])
	conns, err2 := strconv.Atoi(args[2])
	rate, err3 := strconv.ParseFloat(args[3], 64)
	span, err4 := time.ParseDuration(args[4])
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		return err
	}
	r, err := load.Run(ctx, load.Options{URL: args[0], Size: -1, Status: status, Conns: conns, Rate: rate, For: span})
	if err == nil {
		err = r.Err()
	}
	if err == nil {
		fmt.Fprintf(stdout, "answers %.0f\n", r.Rate())
	}
	return err
}

// agentsPerAddress is what an edge lets one address have of ephemeral tunnels.
const agentsPerAddress = 5

// holdAgents is `bench agents EDGE PROTOCOL FROM COUNT`.
func holdAgents(ctx context.Context, args []string, stdout io.Writer) error {
	if len(args) != 4 {
		return errors.New("usage: bench agents EDGE PROTOCOL FROM COUNT")
	}
	from, err := strconv.Atoi(args[2])
	if err != nil {
		return fmt.Errorf("from: %w", err)
	}
	count, err := strconv.Atoi(args[3])
	if err != nil {
		return fmt.Errorf("count: %w", err)
	}
	crowd := rawagent.New(rawagent.Options{Edge: args[0], Protocol: args[1], From: from, Count: count, PerAddress: agentsPerAddress})
	return crowd.Run(ctx, func() { fmt.Fprintf(stdout, "linked %d\n", count) })
}
