// Package stage starts what a measurement needs as processes of their own, all
// of them on 127.0.0.1: origins, the reference (plain proxies), edges and
// agents. It decides how they are configured, and that none of them outlives
// the benchmark. It measures nothing. Its input is the benchmark's, and trusted.
package stage

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/getbindu/bindu-edge/bench/origin"
)

// Options configure a Stage. All are required but Env.
type Options struct {
	Tree     string   // root of the source tree that is measured
	Self     string   // the benchmark's own program, for the processes that are its subcommands
	Env      []string // settings for every edge, NAME=VALUE, beyond the stage's own
	Progress func(format string, args ...any)
}

// Stage owns the processes, their directory and their ports. Make it with New;
// Close ends all. Its methods are for one goroutine.
type Stage struct {
	opts  Options
	dir   string
	start chan func() // runs on the one thread that all processes are children of

	mu        sync.Mutex
	processes []*Process
	binaries  map[bool]string // by whether it can be inspected
	lastPort  int
}

// New makes the directory. It builds and starts nothing.
func New(o Options) (*Stage, error) {
	dir, err := os.MkdirTemp("", "bindu-edge-bench-")
	if err != nil {
		return nil, err
	}
	s := &Stage{opts: o, dir: dir, start: make(chan func()), binaries: map[bool]string{}, lastPort: firstPort + os.Getpid()*37%portRange}
	go launch(s.start) // until Close
	return s, nil
}

// Dir is for files that last as long as the stage.
func (s *Stage) Dir() string { return s.dir }

// Close kills every process, waits for its end and removes the directory.
func (s *Stage) Close() error {
	s.mu.Lock()
	processes := s.processes
	s.processes = nil
	s.mu.Unlock()
	var stopping sync.WaitGroup
	for _, p := range processes {
		stopping.Go(p.Stop)
	}
	stopping.Wait()
	close(s.start)
	return os.RemoveAll(s.dir)
}

// Ports are taken from below those that the system gives to outgoing
// connections, one of which could be there first otherwise.
const (
	firstPort = 20_000
	portRange = 12_000
)

// port is one that nobody listens at.
func (s *Stage) port() (int, error) {
	for range portRange {
		s.lastPort = firstPort + (s.lastPort+1-firstPort)%portRange
		l, err := net.Listen("tcp", local(s.lastPort))
		if err == nil {
			l.Close()
			return s.lastPort, nil
		}
	}
	return 0, errors.New("no free port")
}

func local(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }

// Static are the sizes of the files that the static origin has, by path.
var Static = map[string]int64{"/1k": 1 << 10, "/64k": 64 << 10, "/256m": 256 << 20}

// makeStatic writes them once. The large one is sparse: it costs no disk.
func (s *Stage) makeStatic() (string, error) {
	dir := filepath.Join(s.dir, "static")
	if err := os.Mkdir(dir, 0o755); errors.Is(err, os.ErrExist) {
		return dir, nil
	} else if err != nil {
		return "", err
	}
	for path, size := range Static {
		var text []byte
		if size <= 64<<10 {
			text = origin.Text(int(size))
		}
		name := filepath.Join(dir, path)
		if err := os.WriteFile(name, text, 0o644); err != nil {
			return "", err
		}
		if err := os.Truncate(name, size); err != nil {
			return "", err
		}
	}
	return dir, nil
}

// Origin starts the dynamic origin, which is this program's own. It returns its
// host and port.
func (s *Stage) Origin(ctx context.Context) (string, error) {
	port, err := s.port()
	if err != nil {
		return "", err
	}
	p, err := s.run("origin", nil, s.opts.Self, "origin", local(port))
	if err != nil {
		return "", err
	}
	return local(port), p.until(ctx, func() bool { return answers(ctx, "http://"+local(port)+"/1k") })
}

// patience bounds the wait for a process to be ready.
const patience = 20 * time.Second

// answers reports whether a GET is answered with 200.
func answers(ctx context.Context, address string) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return false
	}
	res, err := client.Do(req)
	if err != nil {
		return false
	}
	res.Body.Close()
	return res.StatusCode == http.StatusOK
}

// client keeps no connection: what is asked for by it is not what is measured.
var client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
