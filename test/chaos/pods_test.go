package chaos

import (
	"bufio"
	"fmt"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/getbindu/bindu-edge/test/child"
	"github.com/getbindu/bindu-edge/test/redistest"
)

// lease is how long a pod that died may be believed to live.
const lease = 5 * time.Second

// pod is one place in the cluster; processes come and go in it.
type pod struct {
	*process
	t           *testing.T
	index       int
	url, admin  string
	addr        string
	env         []string
	log         string
	path        *path // between it and the others
	id          string
	started     int
	peersDialIt bool // path leads to it, not from it
}

// newPod plans a pod. What carries the relay goes by way of its path.
func newPod(t *testing.T, index int, carrier, dir string, redis *redistest.Server, nats *natsServer, more ...string) *pod {
	t.Helper()
	port := child.FreePort(t)
	p := &pod{
		t: t, index: index, addr: fmt.Sprint("127.0.0.1:", port), log: filepath.Join(dir, fmt.Sprint("pod", index, ".log")),
		admin: fmt.Sprint("127.0.0.1:", child.FreePort(t)),
	}
	p.url = "http://" + p.addr
	redisPort := redis.Port
	var env []string
	switch carrier {
	case "direct":
		listen := fmt.Sprint("127.0.0.1:", child.FreePort(t))
		p.path, p.peersDialIt = startPath(t, listen), true
		env = []string{"PEER_ADDR=" + listen, "PEER_ADVERTISE=" + p.path.addr}
	case "nats":
		p.path = startPath(t, fmt.Sprint("127.0.0.1:", nats.port))
		env = []string{"NATS_URL=nats://" + p.path.addr}
	case "redis":
		p.path = startPath(t, redis.Addr())
		_, text, _ := strings.Cut(p.path.addr, ":")
		redisPort, _ = strconv.Atoi(text) // ours
	}
	p.env = append(env,
		"HOST=127.0.0.1", fmt.Sprint("PORT=", port), "ADMIN_ADDR="+p.admin, "LOG_FORMAT=json",
		"REDIS_HOST=127.0.0.1", fmt.Sprint("REDIS_PORT=", redisPort), "RELAY="+carrier,
		"PEER_SECRET=what the pods of this test know of each other",
		fmt.Sprint("POD_LEASE_SECONDS=", lease.Seconds()))
	p.env = append(p.env, more...)
	return p
}

// start runs the pod's process and waits until it is ready.
func (p *pod) start() {
	p.t.Helper()
	p.launch()
	p.await()
}

// launch does not wait.
func (p *pod) launch() {
	p.t.Helper()
	p.started++
	p.path.shut() // unless it was
	p.path.open()
	p.process = launch(p.t, p.log, fmt.Sprint("pod ", p.index), binary, p.env, "serve")
}

func (p *pod) await() {
	p.t.Helper()
	client := &http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	eventually(p.t, p.Name+" is ready", func() bool {
		res, err := client.Get(p.url + "/health/ready")
		if err != nil {
			return false
		}
		_ = res.Body.Close()
		return res.StatusCode == http.StatusOK
	})
	serving := p.lines(`"msg":"serving"`)
	_, rest, _ := strings.Cut(serving[p.started-1], `"pod_id":"`)
	p.id, _, _ = strings.Cut(rest, `"`)
}

// kill ends the pod without a goodbye.
func (p *pod) kill() {
	p.t.Helper()
	p.Kill()
	p.gone()
}

// terminate ends it in order.
func (p *pod) terminate() {
	p.t.Helper()
	p.process.terminate()
	p.gone()
	if n := len(p.lines(`"complete":false`)); n > 0 {
		p.t.Errorf("pod %d had to cut requests off to end in time", p.index)
	}
}

func (p *pod) gone() {
	if p.peersDialIt {
		p.path.shut()
	}
}

// goroutines is what the pod says of itself.
func (p *pod) goroutines() int {
	p.t.Helper()
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Get("http://" + p.admin + "/metrics")
	if err != nil {
		p.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	for lines := bufio.NewScanner(res.Body); lines.Scan(); {
		if text, ok := strings.CutPrefix(lines.Text(), "go_goroutines "); ok {
			n, err := strconv.Atoi(text)
			if err != nil {
				p.t.Fatal(err)
			}
			return n
		}
	}
	p.t.Fatal("no go_goroutines in the metrics")
	return 0
}
