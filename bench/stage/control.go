package stage

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Control is one running control plane.
type Control struct {
	*Process
	URL string // without a slash at the end
	Key string // an admin's
}

// Control starts a control plane with env, which says which database it has.
func (s *Stage) Control(ctx context.Context, env ...string) (*Control, error) {
	binary, _, err := s.program(ctx, false)
	if err != nil {
		return nil, err
	}
	key, err := exec.CommandContext(ctx, binary, "key", "generate").Output()
	if err != nil {
		return nil, fmt.Errorf("make a key: %w", err)
	}
	file := filepath.Join(s.dir, "admin.key")
	if err := os.WriteFile(file, key, 0o600); err != nil {
		return nil, err
	}
	port, err := s.port()
	if err != nil {
		return nil, err
	}
	p, err := s.run("control", append([]string{
		"HOST=127.0.0.1", fmt.Sprint("PORT=", port), "ADMIN_API_KEY_FILE=" + file, "LOG_FORMAT=json",
	}, env...), binary, "control")
	if err != nil {
		return nil, err
	}
	c := &Control{Process: p, URL: "http://" + local(port), Key: strings.TrimSpace(string(key))}
	return c, p.until(ctx, func() bool { return answers(ctx, c.URL+"/health") })
}

// Request is one to the control plane's API.
func (c *Control) Request(ctx context.Context, method, path, body string) (*http.Request, error) {
	r, err := http.NewRequestWithContext(ctx, method, c.URL+path, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Authorization", "Bearer "+c.Key)
	r.Header.Set("Content-Type", "application/json")
	return r, nil
}
