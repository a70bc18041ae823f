package terminal

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// runPlain plays a script in fake time and returns what was written.
func runPlain(t *testing.T, script func(d *Display)) string {
	t.Helper()
	var out bytes.Buffer
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		d := New(Options{Out: &out, Version: "0.1.0", Target: "http://localhost:3773"})
		done := make(chan error, 1)
		go func() { done <- d.Run(ctx) }()
		script(d)
		synctest.Wait()
		cancel()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	})
	return out.String()
}

func TestPlainLines(t *testing.T) {
	at := time.Date(2027, 1, 2, 12, 3, 4, 0, time.UTC)
	got := runPlain(t, func(d *Display) {
		info := Info{URL: "http://localhost:8080/local_tunnel/abc/", Page: "http://localhost:9/\n", Note: "Reachable from this machine only.", Next: []string{"bindu-edge serve", "bindu-edge http 3773"}}
		d.Connecting()
		d.Linked(info)
		d.Request(Request{Time: at, Method: "POST", Path: "/message", Status: 200, Duration: 12 * time.Millisecond, BytesIn: 7, BytesOut: 1234})
		d.Request(Request{Time: at, Method: "GET", Path: "/a b\x1b[31m\n", Status: 502, Duration: time.Second, Err: "connection \"refused\"\r\n"})
		d.Request(Request{Time: at, Method: "", Path: "", Err: "the caller left"})
		d.Target("nothing listens on localhost:3773")
		d.Target("nothing listens on localhost:3773")
		d.Target("")
		d.Offline("reset\nby peer", 1500*time.Millisecond)
		d.Connecting()
		d.Offline("no route", 0)
		d.Connecting()
		d.Linked(info)
		d.Notice(slog.LevelWarn, "the \x1b[1medge moves")
		info.URL = "http://localhost:8080/local_tunnel/other/"
		d.Linked(info)
	})
	clock := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC).Local().Format(time.TimeOnly) // where synctest's time begins
	want := strings.ReplaceAll(`VERSION  0.1.0
TARGET  http://localhost:3773
NOW STATUS connecting
NOW STATUS online
URL  http://localhost:8080/local_tunnel/abc/
PAGE  http://localhost:9/\x0a
NOTE  Reachable from this machine only.
NEXT  bindu-edge serve
NEXT  bindu-edge http 3773
12:03:04 POST /message 200 12ms 1.2kB
12:03:04 GET /a\x20b\x1b[31m\x0a 502 1.00s 0B error="connection \"refused\"\\x0d\\x0a"
12:03:04 - - - 0.0ms 0B error="the caller left"
NOW WARN nothing listens on localhost:3773
NOW INFO the local service answers again
NOW STATUS offline: reset\x0aby peer; next try in 2s
NOW STATUS offline: no route
NOW STATUS online
NOW WARN the \x1b[1medge moves
URL  http://localhost:8080/local_tunnel/other/
DONE  3 requests, 2 failed, 1.2kB sent, in 0s
`, "NOW", clock)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("lines differ (-want +got):\n%s", diff)
	}
}

func TestPlainSaysWhatWasDropped(t *testing.T) {
	got := runPlain(t, func(d *Display) {
		synctest.Wait()
		d.inbox.mu.Lock() // as if the writer were slow
		d.inbox.dropped = 12
		d.inbox.mu.Unlock()
		d.inbox.ring()
	})
	if want := " … 12 not shown\n"; !strings.Contains(got, want) {
		t.Errorf("got %q, want it to contain %q", got, want)
	}
}

type brokenWriter struct{ err error }

func (w brokenWriter) Write([]byte) (int, error) { return 0, w.err }

func TestPlainReportsABrokenOutput(t *testing.T) {
	broken := errors.New("broken pipe")
	err := New(Options{Out: brokenWriter{broken}, Target: "x"}).Run(t.Context())
	if !errors.Is(err, broken) {
		t.Errorf("got %v, want %v", err, broken)
	}
}

func TestPlainHasNoControlCharacters(t *testing.T) {
	got := runPlain(t, func(d *Display) {
		evil := "\x1b]0;x\x07\u202e\u009b\xff\r\n"
		d.Linked(Info{URL: evil, Note: evil, Next: []string{evil}})
		d.Offline(evil, time.Second)
		d.Target(evil)
		d.Notice(slog.LevelInfo, evil)
		slog.New(d.LogHandler(slog.LevelInfo)).With(evil, evil).Info(evil, evil, evil)
		d.Request(Request{Method: evil, Path: evil, Err: evil})
	})
	for line := range strings.Lines(got) {
		if line = strings.TrimSuffix(line, "\n"); Clean(line) != line {
			t.Errorf("%q went out", line)
		}
	}
}
