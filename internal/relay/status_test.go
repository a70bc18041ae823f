package relay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/getbindu/bindu-edge/internal/tunnel"
)

// told is what Peers says, without the texts of errors.
func told(c *Client) map[tunnel.PodID]PeerState {
	all := map[tunnel.PodID]PeerState{}
	for _, s := range c.Peers() {
		s.Err = nil
		all[s.Pod] = s
	}
	return all
}

// A pod is told of while there is a connection to it, with what ended the one
// before, and for ten minutes after it could not be reached.
func TestPeersAreTold(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newPipeListener()
		answer := make(chan struct{}, 1)
		server, stop := serve(t, l, secret(t, ours), func(r *http.Request) (*http.Response, error) {
			<-answer
			return text("ok")(r)
		}, nil)
		defer stop()
		var wire net.Conn
		c := client(t, dialFunc(func(ctx context.Context, pod tunnel.PodID) (conn net.Conn, err error) {
			if pod != holder {
				return nil, net.ErrClosed
			}
			wire, err = l.dial(ctx)
			return wire, err
		}))
		defer c.Close()
		start := time.Now()
		want := func(what string, inbound int, want ...PeerState) {
			t.Helper()
			synctest.Wait()
			all := map[tunnel.PodID]PeerState{}
			for _, s := range want {
				all[s.Pod] = s
			}
			if diff := cmp.Diff(all, told(c)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", what, diff)
			}
			if n := server.Inbound()[door]; n != inbound || len(server.Inbound()) > 1 {
				t.Errorf("%s: inbound %v, want %d of %s", what, server.Inbound(), inbound, door)
			}
		}
		want("before anything", 0)

		done := make(chan struct{})
		go func() { answers(t, c.To(holder, "t"), "ok"); close(done) }()
		want("with a request on its way", 1, PeerState{Pod: holder, Address: "pipe", Connected: true, Since: start, InFlight: 1})
		answer <- struct{}{}
		<-done
		want("after it", 1, PeerState{Pod: holder, Address: "pipe", Connected: true, Since: start})

		<-time.After(time.Second)
		_ = wire.Close()
		want("lost", 0, PeerState{Pod: holder, ErrAt: start.Add(time.Second)})
		if err := c.Peers()[0].Err; err == nil || !strings.HasPrefix(err.Error(), "the connection ") {
			t.Errorf("why: %v", err)
		}

		<-time.After(time.Second)
		answer <- struct{}{}
		answers(t, c.To(holder, "t"), "ok")
		_, err := ask(t, c.To("elsewhere-1", "t"))
		notMade(t, err)
		back := PeerState{Pod: holder, Address: "pipe", Connected: true, Since: start.Add(2 * time.Second)}
		late := back
		late.ErrAt = start.Add(time.Second)
		want("back, and another that is not there", 1, late, PeerState{Pod: "elsewhere-1", ErrAt: start.Add(2 * time.Second)})

		<-time.After(troubleLife)
		want("ten minutes later", 1, back)
	})
}

// A pod that says goodbye is no trouble.
func TestAGoodbyeIsNoTrouble(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newPipeListener()
		server, stop := serve(t, l, secret(t, ours), text("ok"), nil)
		defer stop()
		c := client(t, l)
		defer c.Close()
		answers(t, c.To(holder, "t"), "ok")
		if err := server.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		<-time.After(time.Second)
		synctest.Wait()
		if left := c.Peers(); len(left) != 0 {
			t.Errorf("told of %+v", left)
		}
	})
}

// What is remembered of pods that fail has a bound, and the latest stay.
func TestTroublesAreBounded(t *testing.T) {
	t.Parallel()
	c := client(t, nil)
	now := time.Now()
	for n := range 2 * maxTroubles {
		c.mu.Lock()
		c.trouble(tunnel.PodID(fmt.Sprint("pod-", n)), io.ErrUnexpectedEOF, now.Add(time.Duration(n)))
		c.mu.Unlock()
	}
	list := c.Peers()
	if len(list) != maxTroubles {
		t.Fatalf("%d, want %d", len(list), maxTroubles)
	}
	for _, s := range list {
		if s.ErrAt.Before(now.Add(maxTroubles)) || !errors.Is(s.Err, io.ErrUnexpectedEOF) {
			t.Errorf("kept %+v", s)
		}
	}
}
