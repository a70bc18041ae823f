package redis

import (
	"bufio"
	"context"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// short answers every command, with lists that are too short.
func short(command string) string {
	switch command {
	case "HELLO":
		return "-ERR unknown command 'HELLO'\r\n"
	case "EVALSHA", "EVAL", "HMGET":
		return "*0\r\n"
	case "SMEMBERS":
		return "*1\r\n$1\r\na\r\n"
	case "GET":
		return "$1\r\na\r\n"
	}
	return "+OK\r\n"
}

// pretend serves commands until the test ends, and says where.
func pretend(t *testing.T, answer func(command string) string) (port int) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer func() { _ = conn.Close() }()
				for in := bufio.NewReader(conn); ; {
					command, err := readCommand(in)
					if err != nil {
						return
					}
					if _, err := io.WriteString(conn, answer(command)); err != nil {
						return
					}
				}
			})
		}
	})
	t.Cleanup(serving.Wait)
	t.Cleanup(func() { _ = l.Close() })
	return l.Addr().(*net.TCPAddr).Port
}

// readCommand reads one command (RESP) and gives its name.
func readCommand(in *bufio.Reader) (name string, err error) {
	number := func() (int, error) {
		line, err := in.ReadString('\n')
		if err != nil {
			return 0, err
		}
		return strconv.Atoi(strings.TrimSpace(line[1:]))
	}
	words, err := number()
	if err != nil {
		return "", err
	}
	for i := range words {
		size, err := number()
		if err != nil {
			return "", err
		}
		word := make([]byte, size+len("\r\n"))
		if _, err := io.ReadFull(in, word); err != nil {
			return "", err
		}
		if i == 0 {
			name = strings.ToUpper(string(word[:size]))
		}
	}
	return name, nil
}

// Something in Redis's place that answers with less than it was asked for is as
// good as none: it ends no pod.
func TestShortAnswers(t *testing.T) {
	t.Parallel()
	r, err := New(Options{Pod: "p", Host: "127.0.0.1", Port: pretend(t, short), Timeout: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close(context.Background()) })
	c := claimOf("a", "p", "s", "")
	for _, row := range []struct {
		name string
		ask  func(context.Context) error
	}{
		{"Claim", func(ctx context.Context) error { _, err := r.Claim(ctx, c, ""); return err }},
		{"Refresh", func(ctx context.Context) error { return r.Refresh(ctx, c) }},
		{"Release", func(ctx context.Context) error { return r.Release(ctx, c) }},
		{"BindSlug", func(ctx context.Context) error { return r.BindSlug(ctx, "slug", c) }},
		{"Slug", func(ctx context.Context) error { _, _, err := r.Slug(ctx, "slug"); return err }},
		{"what is listed and not held", func(ctx context.Context) error { return r.reconcile(ctx, false) }},
	} {
		r.gate.answered() // the failure before speaks for nobody
		if err := row.ask(t.Context()); err == nil || !strings.Contains(err.Error(), "words where") {
			t.Errorf("%s: %v", row.name, err)
		}
	}
}
