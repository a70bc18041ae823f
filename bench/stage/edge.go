package stage

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// Edge is one running pod.
type Edge struct {
	*Process
	Addr    string // host:port of the public listener
	inspect string // host:port, or "" when it can't be inspected
}

// Edge starts a pod with memory as its registry, no control plane and tunnels
// for whoever comes; env overrides that, and Options.Env overrides all. With inspect it can be inspected.
//
// It logs as it does by default, an event for each request, to a file.
func (s *Stage) Edge(ctx context.Context, inspect bool, env ...string) (*Edge, error) {
	binary, probe, err := s.program(ctx, inspect)
	if err != nil {
		return nil, err
	}
	public, err := s.port()
	if err != nil {
		return nil, err
	}
	admin, err := s.port()
	if err != nil {
		return nil, err
	}
	all := append([]string{
		"HOST=127.0.0.1", fmt.Sprint("PORT=", public), "ADMIN_ADDR=" + local(admin),
		"REGISTRY=memory", "CONTROL_PLANE_URL=none", "EPHEMERAL_TUNNELS=true", "RELAY=none",
		"MAX_REQUEST_BODY_BYTES=0", "LOG_FORMAT=json", inspectVariable + "=" + probe,
	}, append(env, s.opts.Env...)...)
	p, err := s.run("edge", all, binary, "serve")
	if err != nil {
		return nil, err
	}
	e := &Edge{Process: p, Addr: local(public), inspect: probe}
	return e, p.until(ctx, func() bool { return answers(ctx, "http://"+e.Addr+"/health/ready") })
}

// Agent is one running agent with its tunnel.
type Agent struct {
	*Process
	URL     string // of its tunnel, without a slash at the end
	edge    string // host:port of its pod
	inspect string
}

// Tunnel is one that a control plane has made.
type Tunnel struct {
	ID    string `json:"tunnel_id"`
	Slug  string `json:"slug"`
	Token string `json:"token"`
}

// Agent starts an agent for target (host:port) that speaks protocol (h2, json).
func (s *Stage) Agent(ctx context.Context, e *Edge, target, protocol string, inspect bool) (*Agent, error) {
	return s.AgentOf(ctx, e, Tunnel{}, target, protocol, inspect)
}

// AgentOf is Agent for a tunnel; the zero Tunnel asks the edge for one.
func (s *Stage) AgentOf(ctx context.Context, e *Edge, t Tunnel, target, protocol string, inspect bool) (*Agent, error) {
	binary, probe, err := s.program(ctx, inspect)
	if err != nil {
		return nil, err
	}
	env := []string{inspectVariable + "=" + probe}
	if t.ID != "" {
		env = append(env, "BINDU_TUNNEL_ID="+t.ID, "BINDU_TUNNEL_TOKEN="+t.Token)
	}
	p, err := s.run("agent-"+protocol, env, binary, "http", target,
		"--edge=http://"+e.Addr, "--protocol="+protocol, "--no-ui", "--log-format=json")
	if err != nil {
		return nil, err
	}
	public, err := p.line(ctx, "URL  ")
	if err != nil {
		return nil, err
	}
	_, path, ok := strings.Cut(public, "/local_tunnel/")
	if !ok {
		return nil, fmt.Errorf("the agent's public URL is %s", public)
	}
	return &Agent{Process: p, URL: "http://" + e.Addr + "/local_tunnel/" + strings.TrimSuffix(path, "/"), edge: e.Addr, inspect: probe}, nil
}

// Crowd starts n raw agents that speak protocol and hold their links idle, from
// addresses of their own, number from and up. It returns when all are linked.
func (s *Stage) Crowd(ctx context.Context, e *Edge, protocol string, from, n int) (*Process, error) {
	p, err := s.run("crowd-"+protocol, nil, s.opts.Self, "agents", e.Addr, protocol, fmt.Sprint(from), fmt.Sprint(n))
	if err != nil {
		return nil, err
	}
	said, err := p.line(ctx, "linked ")
	if err == nil && said != fmt.Sprint(n) {
		err = errors.New("crowd: linked " + said)
	}
	return p, err
}
