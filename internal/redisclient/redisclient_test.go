package redisclient_test

import (
	"context"
	"crypto/tls"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/redis/rueidis"
	"go.uber.org/goleak"

	"github.com/getbindu/bindu-edge/internal/redisclient"
	"github.com/getbindu/bindu-edge/test/child"
	"github.com/getbindu/bindu-edge/test/redistest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// newClient makes one that counts how often it dials.
func newClient(t *testing.T, p redisclient.Primary) (rueidis.Client, *atomic.Int64) {
	t.Helper()
	dialled := new(atomic.Int64)
	c, err := redisclient.New(rueidis.ClientOption{
		InitAddress: []string{p.Address}, ForceSingleClient: true, DisableCache: true, DisableRetry: true, PipelineMultiplex: -1,
		Dialer: net.Dialer{Timeout: redisclient.DialTimeout},
		DialCtxFn: func(ctx context.Context, addr string, d *net.Dialer, config *tls.Config) (net.Conn, error) {
			dialled.Add(1)
			return p.Dial(ctx, addr, d, config)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c, dialled
}

func TestPrimary(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	s.Do("SET", "here", "it is")
	sentinel := child.Address(redistest.StartSentinel(t, s, "edge", "monitor master edge"))
	for _, row := range []struct {
		name  string
		input redisclient.Primary
		want  string // part of the error; "" = none
	}{
		{"itself", redisclient.Primary{Address: s.Addr()}, ""},
		{"by a Sentinel", redisclient.Primary{Address: sentinel, Master: "edge"}, ""},
		{"that the Sentinel does not know", redisclient.Primary{Address: sentinel, Master: "other"}, `no primary "other"`},
		{"by one that is no Sentinel", redisclient.Primary{Address: s.Addr(), Master: "edge"}, `no primary "edge"`},
		{"by nobody", redisclient.Primary{Address: child.Address(child.FreePort(t)), Master: "edge"}, "sentinel: "},
		{"that is not there", redisclient.Primary{Address: child.Address(child.FreePort(t))}, "refused"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			c, dialled := newClient(t, row.input)
			if n := dialled.Load(); n != 0 {
				t.Errorf("it dialled %d times before it was needed", n)
			}
			got, err := c.Do(t.Context(), c.B().Get().Key("here").Build()).ToString()
			switch {
			case row.want == "" && (err != nil || got != "it is"):
				t.Errorf("got %q, %v", got, err)
			case row.want != "" && (err == nil || !strings.Contains(err.Error(), row.want)):
				t.Errorf("got %q, %v, want an error with %q", got, err, row.want)
			}
		})
	}
}
