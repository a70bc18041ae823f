package redis

import (
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/redis/rueidis"
)

// sentinel finds the primary by asking a Redis Sentinel, anew for every line:
// after a failover the old ones end, and the next lead to the new primary.
type sentinel struct {
	address string // of a sentinel, or a name that stands for several
	master  string // the name under which they watch the primary; "" = no sentinel
}

// primary is the address of the primary.
func (s sentinel) primary(ctx context.Context) (string, error) {
	client, err := rueidis.NewClient(rueidis.ClientOption{
		InitAddress: []string{s.address}, ClientSetInfo: rueidis.DisableClientSetInfo,
		Dialer:            net.Dialer{Timeout: dialTimeout},
		ForceSingleClient: true, PipelineMultiplex: -1, DisableCache: true, DisableRetry: true,
		ConnWriteTimeout: dialTimeout, ReadBufferEachConn: 4 << 10, WriteBufferEachConn: 4 << 10,
	})
	if client != nil {
		defer client.Close()
	}
	if err != nil {
		return "", fmt.Errorf("sentinel: %w", err)
	}
	at, err := client.Do(ctx, client.B().SentinelGetMasterAddrByName().Master(s.master).Build()).AsStrSlice()
	if err == nil && len(at) != 2 {
		err = errors.New("no address in its answer")
	}
	if err != nil {
		return "", fmt.Errorf("sentinel knows no primary %q: %w", s.master, err)
	}
	return net.JoinHostPort(at[0], at[1]), nil
}
