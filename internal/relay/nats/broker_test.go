package nats

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/getbindu/bindu-edge/internal/relay/bus"
	"github.com/getbindu/bindu-edge/internal/relay/bus/bustest"
)

func TestNewRefusesWhatCanNotBeAServerAndKeepsThePassword(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name  string
		input string
		want  string // part of the error; "" = none
	}{
		{"one", "nats://localhost:4222", ""},
		{"several", "nats://u:tangerine@a:4222, tls://b:4222,c", ""},
		{"none", "", "needs the URL"},
		{"commas", " , ", "needs the URL"},
		{"bad escape", "nats://a:4222,nats://u:tangerine%zz@localhost", "number 2"},
		{"no host", "nats://", "number 1"},
	} {
		c, err := New(Options{URL: row.input, Pod: "pod"})
		switch {
		case row.want == "" && err != nil, row.want != "" && (err == nil || !strings.Contains(err.Error(), row.want)):
			t.Errorf("%s: %v, want %q", row.name, err, row.want)
		case err != nil && strings.Contains(err.Error(), "tangerine"):
			t.Errorf("%s: the error tells the password: %v", row.name, err)
		case err == nil:
			_ = c.Close()
		}
	}
	if _, err := New(Options{URL: "nats://localhost"}); err == nil {
		t.Error("made a carrier for no pod")
	}
}

func TestConnect(t *testing.T) {
	t.Parallel()
	locked := startServer(t, "--user", "edge", "--pass", "tangerine")
	config := filepath.Join(t.TempDir(), "small.conf")
	if err := os.WriteFile(config, []byte("max_payload: 65535\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	narrow := startServer(t, "--config", config)
	at := func(who string) string { return fmt.Sprintf("nats://%s@127.0.0.1:%d", who, locked.Port) }
	for _, row := range []struct {
		name  string
		input string
		want  string // part of the error; "" = none
	}{
		{"password", at("edge:tangerine"), ""},
		{"wrong password", at("edge:mandarin"), "uthorization"},
		{"the second of two", "nats://127.0.0.1:1," + at("edge:tangerine"), ""},
		{"nobody there", "nats://127.0.0.1:1", "no servers"},
		{"small messages only", narrow.url(), "max_payload is 65535"},
	} {
		b, err := newBroker(Options{URL: row.input})
		if err != nil {
			t.Fatal(err)
		}
		l, err := b.Connect(t.Context(), func(error) { t.Errorf("%s: lost", row.name) })
		switch {
		case row.want == "" && err != nil, row.want != "" && (err == nil || !strings.Contains(err.Error(), row.want)):
			t.Errorf("%s: %v, want %q", row.name, err, row.want)
		case err != nil && strings.Contains(err.Error(), "mandarin"):
			t.Errorf("%s: the error tells the password: %v", row.name, err)
		case err == nil:
			l.Close()
		}
	}
}

func TestAConnEndsWhenItsPeerHasGoneWithoutAWord(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	mute := &bustest.Tamper{Broker: s.broker(t), Change: func(_ string, f []byte) [][]byte {
		if kind := f[0]; kind == fin {
			return nil
		}
		return [][]byte{f}
	}}
	from, to := bustest.NewPod(t, s.broker(t), SubjectPrefix), bustest.NewPod(t, mute, SubjectPrefix)
	c1, c2 := bustest.Pair(t, from, to)
	c2.Close()
	for { // until the server says that nobody listens
		if _, err := c1.Write([]byte("x")); err != nil {
			if !errors.Is(err, bus.ErrNobody) {
				t.Errorf("Write = %v, want ErrNobody", err)
			}
			return
		}
	}
}

const fin = 7 // the kind of a conn's last frame

func TestNewNeitherConnectsNorNeedsTheServer(t *testing.T) {
	t.Parallel()
	c, err := New(Options{URL: "nats://127.0.0.1:1", Pod: "pod"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { c.Run(ctx) })
	if _, err := c.Dial(t.Context(), "other"); !errors.Is(err, bus.ErrAway) { // waits for the first attempt
		t.Errorf("Dial = %v, want ErrAway", err)
	}
	cancel()
	running.Wait()
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

// A stranger who floods one subject costs nobody else a message.
func TestAFloodOfOneSubjectIsCutOff(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	b := s.broker(t)
	flooded, err := b.Connect(t.Context(), func(err error) { t.Errorf("lost: %v", err) })
	if err != nil {
		t.Fatal(err)
	}
	defer flooded.Close()
	slow := &blocked{release: make(chan struct{}), failed: make(chan error, 1)}
	defer close(slow.release)
	if _, err := flooded.Subscribe(t.Context(), "bindu.relay.slow", slow); err != nil {
		t.Fatal(err)
	}
	from, err := b.Connect(t.Context(), func(error) {})
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	for range 2 * pendingMessages {
		if err := from.Publish("bindu.relay.slow", "", []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	if err := <-slow.failed; !errors.Is(err, bus.ErrOverrun) {
		t.Errorf("Fail(%v), want ErrOverrun", err)
	}
}

type blocked struct {
	release chan struct{}
	failed  chan error
}

func (b *blocked) Deliver([]byte) { <-b.release }
func (b *blocked) Fail(err error) {
	select {
	case b.failed <- err:
	default:
	}
}
