package stage

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// inspector is a file that is laid over the program's main package where memory
// or profiles are asked for, so that what ships needs no door for it.
//
//go:embed inspector.go.txt
var inspector []byte

// inspectVariable tells the inspector where to listen. It is unknown to the
// program as it ships.
const inspectVariable = "BENCH_INSPECT_ADDR"

// Build builds the program, so that a tree that can't be built stops the run and
// not its scenarios one by one.
func (s *Stage) Build(ctx context.Context, inspect bool) error {
	_, err := s.build(ctx, inspect)
	return err
}

// program is the built binary, and where it is to be inspected ("" if not).
func (s *Stage) program(ctx context.Context, inspect bool) (binary, probe string, err error) {
	if binary, err = s.build(ctx, inspect); err != nil || !inspect {
		return binary, "", err
	}
	port, err := s.port()
	return binary, local(port), err
}

// build builds the program as `make build` does, once.
func (s *Stage) build(ctx context.Context, inspect bool) (string, error) {
	if s.binaries[inspect] != "" {
		return s.binaries[inspect], nil
	}
	binary := filepath.Join(s.dir, "bindu-edge")
	args := []string{"build", "-trimpath", "-ldflags", "-s -w"}
	if inspect {
		binary += "-inspected"
		overlay, err := s.overlay()
		if err != nil {
			return "", err
		}
		args = append(args, "-overlay", overlay)
	}
	s.opts.Progress("building %s", filepath.Base(binary))
	cmd := exec.CommandContext(ctx, "go", append(args, "-o", binary, "./cmd/bindu-edge")...)
	cmd.Dir = s.opts.Tree
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build: %w\n%s", err, out)
	}
	s.binaries[inspect] = binary
	return binary, nil
}

// overlay adds the inspector to the main package, for this build alone
// (`go help build`, -overlay).
func (s *Stage) overlay() (string, error) {
	source := filepath.Join(s.dir, "inspector.go")
	if err := os.WriteFile(source, inspector, 0o600); err != nil {
		return "", err
	}
	tree, err := filepath.Abs(s.opts.Tree)
	if err != nil {
		return "", err
	}
	text, err := json.Marshal(map[string]any{"Replace": map[string]string{
		filepath.Join(tree, "cmd", "bindu-edge", "inspector.go"): source,
	}})
	if err != nil {
		return "", err
	}
	file := filepath.Join(s.dir, "overlay.json")
	return file, os.WriteFile(file, text, 0o600)
}
