package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/getbindu/bindu-edge/internal/tunnel"
)

// tunnelCommand runs `bindu-edge tunnel …` and gives the tunnel that it prints.
func (o *office) tunnelCommand(args ...string) credentials {
	o.t.Helper()
	cmd := exec.CommandContext(o.t.Context(), binary, append([]string{"tunnel"}, append(args, "--json")...)...)
	cmd.Env = []string{"HOME=" + o.dir, "BINDU_API_KEY=" + o.admin, fmt.Sprint("BINDU_CONTROL_PLANE_URL=http://127.0.0.1:", o.port)}
	text, err := cmd.Output()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		err = fmt.Errorf("%w: %s", err, exit.Stderr)
	}
	var made struct {
		ID    tunnel.ID   `json:"tunnel_id"`
		Slug  tunnel.Slug `json:"slug"`
		Token string      `json:"token"`
	}
	if err == nil {
		err = json.Unmarshal(text, &made)
	}
	if err != nil {
		o.t.Fatalf("%v: %v", args, err)
	}
	return credentials{made.ID, made.Slug, made.Token}
}

// What a flag of the command line says of a tunnel holds at the pod that has its
// link and by way of another one.
func TestGuardByCommand(t *testing.T) {
	t.Parallel()
	// As it ships: a build that notices races takes seconds for a credential's hash,
	// and a command gives the control plane only ten.
	program, err := plainBinary()
	if err != nil {
		t.Fatal(err)
	}
	o := startOfficeOf(t, program)
	redis := startRedis(t)
	pod := func() *edge {
		return startEdge(t, nil, append(o.env(redis.env("PEER_SECRET="+peerSecret, fmt.Sprint("PEER_ADDR=127.0.0.1:", freePort(t)))...),
			"TRUSTED_PROXIES=127.0.0.1", "RATE_LIMIT_HEADERS=true")...)
	}
	pods := []*edge{pod(), pod()}
	origin := startOrigin(t, guardedOrigin())
	tokens := filepath.Join(t.TempDir(), "tokens")
	if err := os.WriteFile(tokens, []byte("token-one\ntoken-two\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		name  string
		args  []string
		check func(*testing.T, door)
	}{
		{"--caller-rps", []string{"--caller-rps", "0.002"}, callerRateIsHeld},
		{"--max-response", []string{"--max-response", "1kB"}, ownResponseBodyIsHeld},
		{"--methods", []string{"--methods", "get,POST"}, methodsAreHeld},
		{"--bearer-file", []string{"--bearer-file", tokens}, bearerIsAsked},
		{"--pass-on", []string{"--bearer-file", tokens, "--pass-on"}, func(t *testing.T, d door) {
			wantSeen(t, d.get(t, "/header", headerAuthorization, "Bearer token-two"), "Bearer token-two")
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			for i, name := range []string{"one pod", "two pods"} {
				t.Run(name, func(t *testing.T) {
					c := o.tunnelCommand(append([]string{"create"}, row.args...)...)
					startAgent(t, pods[0], c, origin)
					row.check(t, door{pods[i], c})
				})
			}
		})
	}
	t.Run("change", func(t *testing.T) {
		c := o.tunnelCommand("create", "--bearer-file", tokens, "--pass-on", "--methods", "GET")
		startAgent(t, pods[0], c, origin)
		d := door{pods[1], c}
		put := func() int {
			return do(t, d.request(t, http.MethodPut, "/header", "", headerAuthorization, "Bearer token-one")).StatusCode
		}
		if got := put(); got != 405 {
			t.Errorf("PUT before: %d", got)
		}
		o.tunnelCommand("change", string(c.id), "--methods", "default", "--no-pass-on")
		eventually(t, "all methods are let in", func() bool { return put() == 200 })
		wantSeen(t, d.get(t, "/header", headerAuthorization, "Bearer token-one"), "")
	})
}

// ownResponseBodyIsHeld: a limit that was set for this tunnel counts for event
// streams, too.
func ownResponseBodyIsHeld(t *testing.T, d door) {
	const limit = 1000
	for _, row := range []struct {
		path string
		size int
		cut  bool
	}{
		{"/answer/", limit - 1, false},
		{"/answer/", limit, false},
		{"/stream/", limit, false},
		{"/stream/", limit + 1, true},
		{"/events/", limit - 1, false},
		{"/events/", limit, false},
		{"/events/", limit + 1, true},
	} {
		name := fmt.Sprint(row.path, row.size)
		got := receive(t, name, ask(d.request(t, http.MethodGet, name, "")))
		if (got.err != nil) != row.cut || !row.cut && (got.StatusCode != 200 || len(got.body) != row.size) {
			t.Errorf("%s: %v with %d bytes", name, got.err, len(got.body))
		}
	}
	a := d.get(t, fmt.Sprint("/answer/", limit+1))
	wantDetail(t, a, 502, "bad_agent_response", "this tunnel may send 1000")
}
