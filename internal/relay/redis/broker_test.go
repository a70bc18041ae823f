package redis

import (
	"context"
	"strings"
	"sync"
	"testing"

	"github.com/getbindu/bindu-edge/internal/relay/bus/bustest"
	"github.com/getbindu/bindu-edge/test/child"
	"github.com/getbindu/bindu-edge/test/redistest"
)

func TestDatabasesDoNotMeet(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	zero, one := bustest.NewPod(t, s.broker(t), prefix(0)), bustest.NewPod(t, s.broker(t), prefix(1))
	if c, err := zero.Dial(t.Context(), one.ID); err == nil {
		c.Close()
		t.Error("dialled a pod of another database")
	}
}

func TestPassword(t *testing.T) {
	t.Parallel()
	s := startServer(t, "--requirepass", "tangerine")
	right := func(o *Options) { o.Password = "tangerine" }
	bustest.Pair(t, bustest.NewPod(t, s.broker(t, right), prefix(0)), bustest.NewPod(t, s.broker(t, right), prefix(0)))
	for _, row := range []struct {
		name  string
		input string
	}{{"none", ""}, {"wrong", "mandarin"}} {
		_, err := s.broker(t, func(o *Options) { o.Password = row.input }).Connect(t.Context(), func(error) {})
		if err == nil {
			t.Errorf("%s: connected", row.name)
		} else if row.input != "" && strings.Contains(err.Error(), row.input) {
			t.Errorf("%s: the error tells the password: %v", row.name, err)
		}
	}
}

func TestThePrimaryIsFoundBySentinel(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	port := redistest.StartSentinel(t, s.Server, "edge", "monitor master edge")
	by := func(master string) *broker {
		return s.broker(t, func(o *Options) { o.Port, o.SentinelMaster = port, master })
	}
	bustest.Pair(t, bustest.NewPod(t, by("edge"), prefix(0)), bustest.NewPod(t, by("edge"), prefix(0)))
	if _, err := by("other").Connect(t.Context(), func(error) {}); err == nil || !strings.Contains(err.Error(), "other") {
		t.Errorf("Connect by an unknown name = %v", err)
	}
}

func TestNewNeitherConnectsNorNeedsRedis(t *testing.T) {
	t.Parallel()
	c, err := New(Options{Pod: "pod", Host: "127.0.0.1", Port: child.FreePort(t)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { c.Run(ctx) })
	if _, err := c.Dial(t.Context(), "other"); err == nil { // waits for the first attempt
		t.Error("dialled without a Redis")
	}
	cancel()
	running.Wait()
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	for _, o := range []Options{{Pod: "pod"}, {Host: "localhost"}} {
		if _, err := New(o); err == nil {
			t.Errorf("New(%+v) made a carrier", o)
		}
	}
}
