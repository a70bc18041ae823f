package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// cluster is what runs. Its parts are stopped in the reverse of their order.
type cluster struct {
	options
	parts    []*part
	balancer *balancer

	admin string // key of the control plane
	slug  string
	local *http.Server
}

// part is a child process.
type part struct {
	name string
	cmd  *exec.Cmd
	done chan struct{}
}

const (
	controlPort = 18000
	redisPort   = 16379
	natsPort    = 14222
	sitePort    = 18001
)

func (c *cluster) start(ctx context.Context) error {
	secret := rand.Text() + rand.Text()
	steps := []struct {
		name, address string
		env           []string
		command       []string
		skip          bool
	}{
		{name: "redis", address: local(redisPort), command: []string{"redis-server", "--port", strconv.Itoa(redisPort), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"}},
		{name: "nats", address: local(natsPort), command: []string{"nats-server", "-a", "127.0.0.1", "-p", strconv.Itoa(natsPort)}, skip: c.relay != "nats"},
		{name: "control", address: local(controlPort), command: []string{c.program, "control"}, env: []string{
			"HOST=127.0.0.1", "PORT=" + strconv.Itoa(controlPort), "DATA_DIR=" + c.logs, "ADMIN_API_KEY_FILE=" + filepath.Join(c.logs, "admin.key"),
		}},
	}
	if err := c.makeKey(); err != nil {
		return err
	}
	for _, s := range steps {
		if s.skip {
			continue
		}
		if err := c.spawn(s.name, s.env, s.command...); err != nil {
			return err
		}
		if err := c.await(ctx, s.name, s.address); err != nil {
			return err
		}
	}
	follower, err := c.ask(ctx, "/api/v1/keys", map[string]string{"name": "edges", "role": "edge"})
	if err != nil {
		return fmt.Errorf("make a key for the edges: %w", err)
	}
	var pods []string
	for i := 1; i <= c.pods; i++ {
		address := local(c.port + i)
		err := c.spawn(fmt.Sprintf("edge%d", i), []string{
			"HOST=127.0.0.1", "PORT=" + strconv.Itoa(c.port+i), "PUBLIC_URL=" + c.url(),
			"ADMIN_ADDR=" + local(c.port+100+i), "PEER_ADDR=" + local(c.port+200+i), "PEER_SECRET=" + secret,
			"RELAY=" + c.relay, "NATS_URL=nats://" + local(natsPort), "TRUSTED_PROXIES=127.0.0.1",
			"REDIS_HOST=127.0.0.1", "REDIS_PORT=" + strconv.Itoa(redisPort), "CONTROL_PLANE_URL=http://" + local(controlPort),
			"CONTROL_PLANE_TOKEN=" + follower.Key,
		}, c.program, "serve")
		if err != nil {
			return err
		}
		pods = append(pods, address)
	}
	for i, address := range pods {
		if err := c.await(ctx, fmt.Sprintf("edge%d", i+1), address); err != nil {
			return err
		}
	}
	if c.balancer, err = newBalancer(ctx, local(c.port), pods); err != nil {
		return err
	}
	return c.demo(ctx)
}

// demo makes a tunnel and starts an agent for a small site.
func (c *cluster) demo(ctx context.Context) error {
	listener, err := net.Listen("tcp", local(sitePort))
	if err != nil {
		return err
	}
	c.local = &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = fmt.Fprintf(w, "hello from behind the tunnel: %s %s\n", r.Method, r.URL)
	})}
	go func() { _ = c.local.Serve(listener) }()
	demo, err := c.ask(ctx, "/api/v1/tunnels", map[string]string{"slug": "demo-" + time.Now().Format("150405"), "name": "demo of make cluster"})
	if err != nil {
		return fmt.Errorf("make a tunnel: %w", err)
	}
	c.slug = demo.Slug
	return c.spawn("agent", []string{
		"BINDU_EDGE_URL=" + c.url(), "BINDU_TUNNEL_ID=" + demo.TunnelID, "BINDU_TUNNEL_TOKEN=" + demo.Token,
	}, c.program, "http", strconv.Itoa(sitePort), "--no-ui")
}

// made is what the control plane says of a new tunnel, or of a new key.
type made struct {
	TunnelID string `json:"tunnel_id"`
	Slug     string `json:"slug"`
	Token    string `json:"token"`
	Key      string `json:"key"`
}

func (c *cluster) ask(ctx context.Context, path string, body any) (made, error) {
	var answer made
	text, err := json.Marshal(body)
	if err != nil {
		return answer, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+local(controlPort)+path, bytes.NewReader(text))
	if err != nil {
		return answer, err
	}
	req.Header.Set("Authorization", "Bearer "+c.admin)
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return answer, err
	}
	defer func() { _ = res.Body.Close() }()
	got, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err == nil && res.StatusCode != http.StatusCreated {
		err = fmt.Errorf("status %d: %s", res.StatusCode, got)
	}
	if err != nil {
		return answer, err
	}
	return answer, json.Unmarshal(got, &answer)
}

func (c *cluster) spawn(name string, env []string, command ...string) error {
	if _, err := exec.LookPath(command[0]); err != nil {
		return fmt.Errorf("%s is not here (tools/setup installs what is needed, make build the program): %w", command[0], err)
	}
	out, err := os.Create(filepath.Join(c.logs, name+".log"))
	if err != nil {
		return err
	}
	p := &part{name: name, cmd: exec.Command(command[0], command[1:]...), done: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Stdout, p.cmd.Stderr = out, out
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // ^C is ours to pass on, in order
	if err := p.cmd.Start(); err != nil {
		_ = out.Close()
		return fmt.Errorf("start %s: %w", name, err)
	}
	go func() {
		_ = p.cmd.Wait()
		_ = out.Close()
		close(p.done)
	}()
	c.parts = append(c.parts, p)
	return nil
}

// await waits until somebody listens at address.
func (c *cluster) await(ctx context.Context, name, address string) error {
	p := c.parts[len(c.parts)-1]
	for _, other := range c.parts {
		if other.name == name {
			p = other
		}
	}
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-again.C:
		case <-p.done:
			said, _ := os.ReadFile(filepath.Join(c.logs, name+".log"))
			return fmt.Errorf("%s has ended: %s", name, bytes.TrimSpace(said))
		case <-ctx.Done():
			return fmt.Errorf("%s does not listen on %s", name, address)
		}
	}
}

func (c *cluster) tell() {
	fmt.Printf("%-14s%s\n", "tunnel", c.url()+"/local_tunnel/"+c.slug+"/")
	fmt.Printf("%-14s%s\n", "control plane", "http://"+local(controlPort))
	fmt.Printf("%-14s%s\n", "admin key", c.admin)
	fmt.Printf("%-14s%s\n\n", "logs", c.logs)
	for _, p := range c.parts {
		fmt.Printf("  %-10s pid %d\n", p.name, p.cmd.Process.Pid)
	}
	fmt.Printf(`
Try:  curl %[1]s/local_tunnel/%[2]s/     through the load balancer
      curl http://%[3]s/local_tunnel/%[2]s/     at the first pod, wherever the agent is
      kill -TERM PID, kill -9 PID, kill -STOP PID of an edge, of redis, ...
^C stops everything.
`, c.url(), c.slug, local(c.port+1))
}

// stop ends the parts, the last one first, each within 35 s.
func (c *cluster) stop() {
	for i := len(c.parts) - 1; i >= 0; i-- {
		p := c.parts[i]
		_ = p.cmd.Process.Signal(syscall.SIGCONT) // somebody may have stopped it
		_ = p.cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-p.done:
		case <-time.After(35 * time.Second):
			_ = p.cmd.Process.Kill()
			<-p.done
		}
	}
	if c.balancer != nil {
		c.balancer.close()
	}
	if c.local != nil {
		_ = c.local.Close()
	}
}

// makeKey writes the key with which the control plane starts.
func (c *cluster) makeKey() error {
	out, err := exec.Command(c.program, "key", "generate").Output()
	if err != nil {
		return errors.New("make a key: " + err.Error())
	}
	c.admin = string(bytes.TrimSpace(out))
	return os.WriteFile(filepath.Join(c.logs, "admin.key"), []byte(c.admin+"\n"), 0o600)
}

func (c *cluster) url() string { return "http://" + local(c.port) }

func local(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
