package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/getbindu/bindu-edge/agent"
	"github.com/getbindu/bindu-edge/internal/config"
	"github.com/getbindu/bindu-edge/internal/terminal"
)

// expose runs an agent behind a status display until ctx ends, the user asks
// to end, or the edge refuses the agent for good.
type expose struct {
	display *terminal.Display
	target  string // host:port of the local server; "" when it is in this process
	info    func(agent.State) terminal.Info
}

// run shows what the agent does. stop ends the agent; the display goes on until
// the goodbye is said.
func (e *expose) run(ctx context.Context, work func(context.Context) error) error {
	showing, hide := context.WithCancel(context.WithoutCancel(ctx))
	var shown sync.WaitGroup
	var displayErr error
	shown.Go(func() { displayErr = e.display.Run(showing) })
	err := work(ctx)
	hide()
	shown.Wait()
	return errors.Join(err, displayErr)
}

// state shows what the agent is doing.
func (e *expose) state(s agent.State) {
	switch s.Phase {
	case agent.Connecting:
		e.display.Connecting()
	case agent.Online:
		e.display.Linked(e.info(s))
	case agent.Offline:
		e.display.Offline(s.Err.Error(), s.RetryIn)
	}
}

// watchTarget says when nothing listens at the target, and when that changes.
// It looks until ctx ends; requests are forwarded whatever it finds.
func (e *expose) watchTarget(ctx context.Context) {
	if e.target == "" {
		return
	}
	every := time.NewTicker(watchEvery)
	defer every.Stop()
	was := ""
	for {
		problem := ""
		if err := agent.Reachable(ctx, e.target); err != nil && ctx.Err() == nil {
			problem = "nothing listens there yet: start your server, this page waits"
		}
		if problem != was {
			e.display.Target(problem)
			was = problem
		}
		select {
		case <-every.C:
		case <-ctx.Done():
			return
		}
	}
}

const watchEvery = 2 * time.Second

// watched shows each request that h answers.
func (e *expose) watched(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		path, _, _ := strings.Cut(r.RequestURI, "?") // queries may hold secrets
		method := r.Method
		body := &countedBody{ReadCloser: r.Body}
		r.Body = body
		seen := &seenResponse{ResponseWriter: w}
		e.display.Started()
		done := func(problem string) {
			e.display.Request(terminal.Request{
				Time: began, Method: method, Path: path, Status: seen.status, Duration: time.Since(began),
				BytesIn: body.n.Load(), BytesOut: seen.bytes.Load(), Err: problem,
			})
		}
		defer func() {
			problem := ""
			if p := recover(); p != nil {
				if p != any(http.ErrAbortHandler) {
					done(fmt.Sprint("the handler failed: ", p))
					panic(p)
				}
				if problem = "broken off"; r.Context().Err() != nil {
					problem = "the caller left"
				}
				done(problem)
				panic(p)
			}
			if agent.IsUnreachable(w.Header()) {
				problem = "the local server can't be reached"
			}
			done(problem)
		}()
		h.ServeHTTP(seen, r)
	})
}

// newDisplay makes the screen if this is a terminal, else plain lines.
func (p *process) newDisplay(plain bool, target string, stop func()) (*terminal.Display, bool) {
	in, inIsFile := p.stdin.(*os.File)
	out, outIsFile := p.stdout.(*os.File)
	screen := !plain && inIsFile && outIsFile && terminal.Interactive(in, out)
	o := terminal.Options{Out: p.stdout, Screen: screen, Stop: stop, Version: readVersion().Version, Target: target}
	if screen {
		o.In = p.stdin
	}
	return terminal.New(o), screen
}

// nextPort finds a free port from first on.
func nextPort(host string, first int, taken int) (net.Listener, error) {
	var last error
	for port := first; port < first+100 && port <= 65535; port++ {
		if port == taken {
			continue
		}
		l, err := listen(host, port)
		if err == nil {
			return l, nil
		}
		if last = err; config.NotThisHost(err) {
			break // at any port
		}
	}
	return nil, last
}
