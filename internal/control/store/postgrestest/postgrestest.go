// Package postgrestest runs a real PostgreSQL for a test. It decides nothing
// about what is tested, and is for tests alone.
package postgrestest

import (
	"bytes"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// Server is one PostgreSQL with a data directory of its own, on a Unix socket.
// It keeps its data while stopped; Close removes it. Not for concurrent use.
type Server struct {
	dir     string
	account *syscall.Credential // nil = this process's own
	cmd     *exec.Cmd           // nil = stopped
	ended   chan error          // how cmd did
}

// Start makes a database cluster and runs it. PostgreSQL refuses to be root, so
// a root's test runs it as the user postgres, or nobody.
func Start() (*Server, error) {
	dir, err := os.MkdirTemp("", "postgres") // short enough for a socket's path
	if err != nil {
		return nil, err
	}
	s := &Server{dir: dir}
	if err := s.begin(); err != nil {
		return nil, errors.Join(fmt.Errorf("start postgres: %w", err), os.RemoveAll(dir))
	}
	return s, nil
}

func (s *Server) begin() error {
	if os.Geteuid() == 0 {
		account, err := unprivileged()
		if err != nil {
			return err
		}
		if err := os.Chown(s.dir, int(account.Uid), int(account.Gid)); err != nil {
			return err
		}
		s.account = account
	}
	initdb, err := s.command("initdb", "--pgdata", s.data(), "--username", "postgres", "--auth", "trust",
		"--encoding", "UTF8", "--locale", "C", "--no-sync")
	if err != nil {
		return err
	}
	if out, err := initdb.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w: %s", err, out)
	}
	return s.Run()
}

func (s *Server) data() string { return filepath.Join(s.dir, "data") }

// Run starts a server that was stopped, and waits until it takes connections.
func (s *Server) Run() error {
	cmd, err := s.command("postgres", "-D", s.data(), "-k", s.dir, "-c", "listen_addresses=",
		"-c", "fsync=off", "-c", "full_page_writes=off", "-c", "shared_buffers=32MB", "-c", "max_connections=50")
	if err != nil {
		return err
	}
	log := &watch{phrase: "ready to accept connections", seen: make(chan struct{})}
	cmd.Stderr = log
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case <-log.seen:
	case err := <-ended:
		return fmt.Errorf("postgres ended: %w: %s", err, log.text())
	}
	s.cmd, s.ended = cmd, ended
	return nil
}

// URL of a database on the server, as for DATABASE_URL.
func (s *Server) URL(database string) string {
	return "postgres://postgres@/" + database + "?host=" + url.QueryEscape(s.dir)
}

// Crash ends the server without a goodbye, in the middle of whatever it does.
func (s *Server) Crash() error { return s.end(syscall.SIGQUIT) }

// Close stops the server and removes its data.
func (s *Server) Close() error {
	var err error
	if s.cmd != nil {
		err = s.end(syscall.SIGINT)
	}
	return errors.Join(err, os.RemoveAll(s.dir))
}

func (s *Server) end(sig syscall.Signal) error {
	if err := s.cmd.Process.Signal(sig); err != nil {
		return err
	}
	err := <-s.ended
	s.cmd, s.ended = nil, nil
	var status *exec.ExitError
	if errors.As(err, &status) {
		return nil // how it ended was our doing
	}
	return err
}

func (s *Server) command(name string, args ...string) (*exec.Cmd, error) {
	path, err := find(name)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(path, args...)
	cmd.Dir = s.dir
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: s.account}
	return cmd, nil
}

// find looks where Debian puts the programs that only its scripts call.
func find(name string) (string, error) {
	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}
	paths, err := filepath.Glob("/usr/lib/postgresql/*/bin/" + name)
	if err != nil || len(paths) == 0 {
		return "", fmt.Errorf("this test needs %s of PostgreSQL (make test installs it)", name)
	}
	version := func(path string) int {
		n, _ := strconv.Atoi(strings.Split(path, "/")[4]) // 0 if it is no number
		return n
	}
	return slices.MaxFunc(paths, func(a, b string) int { return version(a) - version(b) }), nil
}

func unprivileged() (*syscall.Credential, error) {
	found, err := user.Lookup("postgres")
	if err != nil {
		if found, err = user.Lookup("nobody"); err != nil {
			return nil, err
		}
	}
	uid, err1 := strconv.ParseUint(found.Uid, 10, 32)
	gid, err2 := strconv.ParseUint(found.Gid, 10, 32)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, errors.Join(err1, err2)
}

// watch keeps a log and says when something stands in it.
type watch struct {
	phrase string
	seen   chan struct{} // closed then

	mu   sync.Mutex
	kept bytes.Buffer
	done bool
}

func (w *watch) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.done {
		return len(p), nil // nobody reads on
	}
	w.kept.Write(p)
	if strings.Contains(w.kept.String(), w.phrase) {
		w.done = true
		close(w.seen)
	}
	return len(p), nil
}

func (w *watch) text() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.kept.String()
}
