package stage

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Reference is what ours is measured against: two plain proxies, one behind the
// other, as edge and agent are two hops.
type Reference struct {
	Outer, Inner *Process
	URL          string // of the outer one, without a path
}

// PIDs are those of both, workers included.
func (r *Reference) PIDs() ([]int, error) { return PIDs(r.Outer, r.Inner) }

// PIDs are those of several processes and their workers.
func PIDs(processes ...*Process) ([]int, error) {
	var all []int
	for _, p := range processes {
		pids, err := p.PIDs()
		if err != nil {
			return nil, err
		}
		all = append(all, pids...)
	}
	return all, nil
}

// StaticOrigin starts nginx with the files of Static. It returns its host and
// port.
func (s *Stage) StaticOrigin(ctx context.Context) (string, error) {
	root, err := s.makeStatic()
	if err != nil {
		return "", err
	}
	port, err := s.port()
	if err != nil {
		return "", err
	}
	_, err = s.nginx(ctx, "nginx-origin", port, fmt.Sprintf("root %s; open_file_cache max=16;", root), "")
	return local(port), err
}

// Reference starts the two proxies before both origins: /events and /upload go
// to the dynamic one.
func (s *Stage) Reference(ctx context.Context, static, dynamic string) (*Reference, error) {
	var ports [2]int
	for i := range ports {
		port, err := s.port()
		if err != nil {
			return nil, err
		}
		ports[i] = port
	}
	inner, err := s.nginx(ctx, "nginx-inner", ports[1], proxyTo("static", "dynamic"),
		upstream("static", static)+upstream("dynamic", dynamic))
	if err != nil {
		return nil, err
	}
	outer, err := s.nginx(ctx, "nginx-outer", ports[0], proxyTo("next", "next"), upstream("next", local(ports[1])))
	if err != nil {
		return nil, err
	}
	return &Reference{Outer: outer, Inner: inner, URL: "http://" + local(ports[0])}, nil
}

func upstream(name, address string) string {
	return fmt.Sprintf("upstream %s { server %s; keepalive 256; keepalive_requests 1000000000; }\n", name, address)
}

// proxyTo is what a careful operator writes for a plain proxy: connections are
// kept, bodies stream both ways, nothing is spooled to disk. Responses are
// buffered as is the default (8 buffers of 4 KB), but for events, which that
// would hold up.
func proxyTo(static, dynamic string) string {
	return fmt.Sprintf(`
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    proxy_set_header Host $http_host;
    proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    proxy_set_header X-Forwarded-Proto $scheme;
    proxy_request_buffering off;
    proxy_max_temp_file_size 0;
    location / { proxy_pass http://%s; }
    location /upload { proxy_pass http://%s; }
    location /events { proxy_pass http://%s; proxy_buffering off; }
`, static, dynamic, dynamic)
}

// nginx starts one instance: server goes into its one server block, global
// before it.
func (s *Stage) nginx(ctx context.Context, name string, port int, server, global string) (*Process, error) {
	dir := filepath.Join(s.dir, name)
	if err := os.Mkdir(dir, 0o755); err != nil {
		return nil, err
	}
	user := ""
	if os.Geteuid() == 0 {
		user = "user root;" // the workers' usual user can't read this directory
	}
	var temp strings.Builder
	for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		fmt.Fprintf(&temp, "  %s_temp_path %s/%s;\n", kind, dir, kind)
	}
	text := fmt.Sprintf(`%s
daemon off;
worker_processes auto;
pid %s/pid;
error_log stderr warn;
events { worker_connections 4096; }
http {
%s  access_log off;
  sendfile on;
  tcp_nopush on;
  keepalive_requests 1000000000;
  client_max_body_size 0;
  default_type text/plain;
  %s
  server {
    listen %s;
    location = /nginx-is-up { return 200; }
    %s
  }
}
`, user, dir, temp.String(), global, local(port), server)
	file := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		return nil, err
	}
	p, err := s.run(name, nil, "nginx", "-p", dir, "-e", "stderr", "-c", file)
	if err != nil {
		return nil, err
	}
	return p, p.until(ctx, func() bool { return answers(ctx, "http://"+local(port)+"/nginx-is-up") })
}
