package redis

import (
	"context"
	"fmt"
	"net"

	"github.com/redis/rueidis"
)

// sentinel finds the primary by asking a Redis Sentinel. It asks anew for every
// connection: after a failover the old one ends, and the next leads to the new
// primary.
type sentinel struct {
	address string // of a sentinel, or a name that stands for several
	master  string // the name under which they watch the primary; "" = no sentinel
}

// primary is the address of the primary. It takes at most a dial and an answer.
func (s sentinel) primary(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	client, err := rueidis.NewClient(rueidis.ClientOption{
		InitAddress: []string{s.address}, ClientSetInfo: rueidis.DisableClientSetInfo,
		Dialer:            net.Dialer{Timeout: dialTimeout},
		ForceSingleClient: true, PipelineMultiplex: -1, DisableCache: true, DisableRetry: true,
		ConnWriteTimeout: dialTimeout, ReadBufferEachConn: bufferSize, WriteBufferEachConn: bufferSize,
	})
	if client != nil {
		defer client.Close()
	}
	if err != nil {
		return "", fmt.Errorf("sentinel: %w", err)
	}
	at, err := client.Do(ctx, client.B().SentinelGetMasterAddrByName().Master(s.master).Build()).AsStrSlice()
	if err != nil || len(at) != 2 {
		return "", fmt.Errorf("sentinel knows no primary %q: %w", s.master, orMissing(err))
	}
	return net.JoinHostPort(at[0], at[1]), nil
}

func orMissing(err error) error {
	if err == nil {
		return fmt.Errorf("no address in its answer")
	}
	return err
}
