package chaos

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/getbindu/bindu-edge/test/child"
)

// newClient is a way to Redis of its own.
func newClient(addr string) (rueidis.Client, error) {
	return rueidis.NewClient(rueidis.ClientOption{
		InitAddress: []string{addr}, ForceSingleClient: true, DisableCache: true, DisableRetry: true,
	})
}

// ownersScript returns, for each tunnel, the pod that holds it by each of the
// three ways in which Redis says so, as one look; "" where it says nothing.
var ownersScript = rueidis.NewLuaScriptReadOnly(`
local all = {}
for _, id in ipairs(ARGV) do
  local listed = {}
  for _, key in ipairs(redis.call('KEYS', 'pod:*:tunnels')) do
    local pod = string.sub(key, 5, -9)
    if redis.call('EXISTS', 'pod:' .. pod) == 1 and redis.call('SISMEMBER', key, id) == 1 then
      table.insert(listed, pod)
    end
  end
  local claimed = redis.call('HGET', 'claim:' .. id, 'pod') or ''
  table.insert(all, (redis.call('GET', 'tunnel:' .. id) or '') .. '|' .. claimed .. '|' .. table.concat(listed, ','))
end
return all`)

// owner is what Redis says of one tunnel.
type owner struct{ tunnel, claim, listed string }

// owners asks for many tunnels in one step.
func owners(ctx context.Context, redis rueidis.Client, ids []string) ([]owner, error) {
	rows, err := ownersScript.Exec(ctx, redis, nil, ids).AsStrSlice()
	if err != nil {
		return nil, fmt.Errorf("owners: %w", err)
	}
	all := make([]owner, len(rows))
	for i, row := range rows {
		parts := strings.SplitN(row, "|", 3)
		all[i] = owner{parts[0], parts[1], parts[2]}
	}
	return all, nil
}

// natsServer has a port for its monitor.
type natsServer struct {
	t             *testing.T
	port, monitor int
	*process
}

func startNATS(t *testing.T, dir string) *natsServer {
	t.Helper()
	s := &natsServer{t: t, port: child.FreePort(t), monitor: child.FreePort(t)}
	s.process = launch(t, filepath.Join(dir, "nats.log"), "nats-server", "nats-server", nil,
		"--addr", "127.0.0.1", "--port", strconv.Itoa(s.port), "--http_port", strconv.Itoa(s.monitor))
	eventually(t, "NATS is up", func() bool { return len(s.lines("Server is ready")) > 0 })
	return s
}

// subscriptions is how many there are.
func (s *natsServer) subscriptions() int {
	s.t.Helper()
	client := &http.Client{Timeout: 5 * time.Second}
	res, err := client.Get(fmt.Sprintf("http://127.0.0.1:%d/subsz", s.monitor))
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	var said struct {
		Count int `json:"num_subscriptions"`
	}
	if err := json.NewDecoder(res.Body).Decode(&said); err != nil {
		s.t.Fatal(err)
	}
	return said.Count
}
