package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/getbindu/bindu-edge/test/redistest"
)

// redisServer is a redis-server of one test, without persistence: started
// again, it is empty.
type redisServer struct{ *redistest.Server }

func startRedis(t *testing.T) *redisServer {
	t.Helper()
	return &redisServer{redistest.Start(t)}
}

// life is how long a key has left; negative when it is not there or stays.
func (s *redisServer) life(key string) time.Duration {
	return time.Duration(s.Number("PTTL", key)) * time.Millisecond
}

// owner is the pod that holds a tunnel, as `tunnel:` says.
func (s *redisServer) owner(c credentials) string {
	return s.Text("GET", "tunnel:"+string(c.id))
}

// env makes a pod use the server.
func (s *redisServer) env(more ...string) []string {
	return append([]string{"REGISTRY=redis", "REDIS_HOST=127.0.0.1", fmt.Sprint("REDIS_PORT=", s.Port)}, more...)
}

// podID is what the edge says of itself in its log.
func (e *edge) podID() string {
	e.t.Helper()
	_, rest, _ := strings.Cut(e.waitLine(`"serving"`, 1), `"pod_id":"`)
	id, _, ok := strings.Cut(rest, `"`)
	if !ok {
		e.t.Fatal("the edge does not say its pod id")
	}
	return id
}
