package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/charmbracelet/x/term"
)

// terminals gives the process's terminals, if a person sits at both ends.
func (p *process) terminals() (in, out *os.File, ok bool) {
	in, inIsFile := p.stdin.(*os.File)
	out, outIsFile := p.stderr.(*os.File)
	if !inIsFile || !outIsFile || !term.IsTerminal(in.Fd()) || !term.IsTerminal(out.Fd()) {
		return nil, nil, false
	}
	return in, out, true
}

// confirm asks before something that hurts. Only yes means yes. The question
// goes to standard error, so that standard output stays what was asked for.
func (p *process) confirm(ctx context.Context, yes bool, command, question string) error {
	if yes {
		return nil
	}
	in, _, ok := p.terminals()
	if !ok {
		return &usageError{"--yes: missing: there is no terminal to ask on", command}
	}
	_, _ = fmt.Fprintf(p.stderr, "%s [y/N] ", question)
	answer, err := readLine(ctx, in)
	if err != nil {
		_, _ = fmt.Fprintln(p.stderr)
		return err
	}
	switch strings.ToLower(strings.TrimSpace(answer)) {
	case "y", "yes":
		return nil
	}
	return errors.New("not confirmed: nothing was done")
}

// readLine reads one line, or gives up when ctx ends: then the read is left
// behind, as the process ends.
func readLine(ctx context.Context, in io.Reader) (string, error) {
	type read struct {
		line string
		err  error
	}
	done := make(chan read, 1)
	go func() {
		line, err := bufio.NewReader(io.LimitReader(in, 1024)).ReadString('\n')
		if errors.Is(err, io.EOF) {
			err = nil // an end of input is an answer, too: no
		}
		done <- read{line, err}
	}()
	select {
	case r := <-done:
		return r.line, r.err
	case <-ctx.Done():
		return "", fmt.Errorf("interrupted: %w", ctx.Err())
	}
}

// askPassword reads a password that is not shown, twice.
func (p *process) askPassword(ctx context.Context, flag, user, command string) (string, error) {
	in, out, ok := p.terminals()
	if !ok {
		return "", &usageError{flag + ": there is no terminal to ask for the password: use --basic-auth-file", command}
	}
	fd := in.Fd()
	before, err := term.GetState(fd)
	if err != nil {
		return "", err
	}
	var given [2]string
	for i, prompt := range []string{"Password of " + user + ": ", "The same again: "} {
		_, _ = fmt.Fprint(out, prompt)
		type read struct {
			text []byte
			err  error
		}
		done := make(chan read, 1)
		go func() {
			text, err := term.ReadPassword(fd)
			done <- read{text, err}
		}()
		select {
		case r := <-done:
			_, _ = fmt.Fprintln(out)
			if r.err != nil {
				return "", r.err
			}
			given[i] = string(r.text)
		case <-ctx.Done():
			_ = term.Restore(fd, before) // or the shell would show nothing that is typed
			_, _ = fmt.Fprintln(out)
			return "", fmt.Errorf("interrupted: %w", ctx.Err())
		}
	}
	if given[0] != given[1] {
		return "", errors.New("the two passwords differ: nothing was done")
	}
	return given[0], nil
}

// readLines reads a file of secrets, one a line. It shows none of it.
func (p *process) readLines(name string) ([]string, error) {
	from := p.stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			var path *os.PathError
			if errors.As(err, &path) {
				err = path.Err
			}
			return nil, fmt.Errorf("%s can't be read: %w", name, err)
		}
		defer func() { _ = f.Close() }()
		from = f
	}
	const most = 64 << 10
	text, err := io.ReadAll(io.LimitReader(from, most+1))
	if err != nil {
		return nil, err
	}
	if len(text) > most {
		return nil, fmt.Errorf("holds more than %d bytes", most)
	}
	var lines []string
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimRight(line, "\r\n"); line != "" {
			lines = append(lines, line)
		}
	}
	if len(lines) == 0 {
		return nil, errors.New("is empty")
	}
	return lines, nil
}
