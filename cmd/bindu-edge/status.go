package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/getbindu/bindu-edge/internal/config"
	"github.com/getbindu/bindu-edge/internal/podstatus"
	"github.com/getbindu/bindu-edge/internal/terminal"
)

// Exit codes of `status`, beside those of all commands; exitMissing is for a
// tunnel that is not connected to the pod.
const exitNotReady = 6

// statusCmd is `bindu-edge status`.
type statusCmd struct {
	Addr string `setting:"ADMIN_ADDR" type:"listen" off:"none" default:"127.0.0.1:9090" group:"Pod" help:"Address of the pod's admin listener, host:port."`

	Tunnel  string `type:"word" group:"Filter" help:"Only the tunnel of this id or slug."`
	Tunnels int    `type:"count" min:"0" max:"100000" zero:"10, with --json 1000" default:"0" group:"Filter" help:"How many tunnels to list."`
	Sort    string `type:"choice" choices:"since,in_flight,requests,unread_bytes" default:"since" group:"Filter" help:"Which tunnels come first: the newest links, or those with the most of:"`
	Ends    int    `type:"count" min:"0" max:"100" zero:"none" default:"10" group:"Filter" help:"How many of the last link ends to list."`

	Watch    bool          `short:"w" type:"bool" group:"Output" help:"Show it again and again, in place on a terminal. Ctrl-C ends."`
	Interval time.Duration `type:"seconds" min:"0.2" max:"3600" default:"2" group:"Output" help:"How often --watch looks."`
	JSON     bool          `name:"json" type:"bool" group:"Output" help:"Print the pod's own document; with --watch one a line."`
}

// Help is what `status --help` says beyond its flags.
func (statusCmd) Help() string {
	return `Asks a running pod what it does: its tunnels, the pods and services that it depends on, and why links ended.

Examples:

    bindu-edge status
    bindu-edge status --addr 10.0.0.7:9090 --watch
    bindu-edge status --sort unread_bytes --tunnels 5
    bindu-edge status --tunnel demo --json | jq '.tunnels.list[]'
    kubectl exec edge-0 -- bindu-edge status

Exit codes: 0 ready, which "degraded" is too; 1 no pod answers there; 2 the command line is wrong; 3 the tunnel asked for has no link to this pod; 6 the pod is not ready: it starts or shuts down.`
}

// Run asks, and shows the answer.
func (c *statusCmd) Run(ctx context.Context, p *process) error {
	at, err := c.address(p.settings)
	if err != nil {
		return err
	}
	q := podstatus.Query{Limit: c.Tunnels, Tunnel: c.Tunnel, Sort: c.Sort}
	if q.Limit == 0 {
		q.Limit = 10
		if c.JSON {
			q.Limit = podstatus.DefaultLimit
		}
	}
	at.RawQuery = q.Values().Encode()
	ask := newPodClient(at)
	if c.Watch {
		return watchStatus(ctx, p, ask, c.Interval, c.JSON, c.Ends)
	}
	s, raw, err := ask(ctx)
	if err != nil {
		return err
	}
	if c.JSON {
		_, err = fmt.Fprintf(p.stdout, "%s\n", bytes.TrimSpace(raw))
	} else {
		out := newPaper(p.stdout)
		for _, line := range statusLines(out, s, c.Ends) {
			out.line(out.fit(line))
		}
		err = out.flush()
	}
	switch {
	case err != nil:
		return err
	case c.Tunnel != "" && s.Tunnels.Found == 0:
		return &advice{
			code: exitMissing, msg: terminal.Clean(fmt.Sprintf("no agent of tunnel %s is connected to this pod", c.Tunnel)),
			next: "the same at the other pods; bindu-edge tunnel show says which one it was last seen on",
		}
	case !s.Pod.Ready:
		return &advice{code: exitNotReady, msg: "the pod is not ready: " + terminal.Clean(whyText(s))}
	}
	return nil
}

// address is where to ask. A pod that listens at every address listens at
// loopback too.
func (c *statusCmd) address(settings *config.Loader) (*url.URL, error) {
	name := settings.Name("ADMIN_ADDR")
	if settings.Origin("ADMIN_ADDR").Kind == config.FromDefault {
		name = "--addr"
	}
	if c.Addr == "" {
		return nil, &config.SettingError{Name: name, Msg: "none: a pod without an admin listener can't be asked; give --addr for another one"}
	}
	host, port, err := net.SplitHostPort(c.Addr)
	if err != nil || port == "0" {
		return nil, &config.SettingError{Name: name, Msg: "names no port: give the one that the pod listens at"}
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
		if ip != nil && ip.To4() == nil {
			host = "localhost"
		}
	}
	return &url.URL{Scheme: "http", Host: net.JoinHostPort(host, port), Path: podstatus.Path}, nil
}

// askPod gets a pod's document, read and as it came. Its errors are for people.
type askPod func(context.Context) (podstatus.Status, json.RawMessage, error)

const (
	podPatience    = 10 * time.Second
	maxPodDocument = 128 << 20
)

func newPodClient(at *url.URL) askPod {
	client := &http.Client{
		Transport:     &http.Transport{Proxy: nil, DisableKeepAlives: true}, // a pod is nobody's to proxy
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Timeout:       podPatience,
	}
	shown := at.Scheme + "://" + at.Host
	away := func(msg string) error {
		return &advice{
			code: exitFailed, msg: terminal.Clean(msg),
			next: "bindu-edge serve (which runs a pod), or --addr HOST:PORT, the ADMIN_ADDR of a pod that runs",
		}
	}
	return func(ctx context.Context) (s podstatus.Status, raw json.RawMessage, err error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, at.String(), nil)
		if err != nil {
			return s, nil, err
		}
		req.Header.Set("User-Agent", userAgent())
		res, err := client.Do(req)
		if err == nil {
			defer func() { _ = res.Body.Close() }()
			raw, err = io.ReadAll(io.LimitReader(res.Body, maxPodDocument))
		}
		if err != nil {
			if ctx.Err() != nil {
				return s, nil, fmt.Errorf("interrupted: %w", ctx.Err())
			}
			if e, ok := errors.AsType[*url.Error](err); ok {
				err = e.Err // the URL is told already
			}
			return s, nil, away(fmt.Sprintf("no pod answers at %s: %v", shown, err))
		}
		if res.StatusCode != http.StatusOK {
			return s, nil, away(fmt.Sprintf("%s is no pod that tells its status: it answers %s", shown, res.Status))
		}
		if err := json.Unmarshal(raw, &s); err != nil || s.Pod.ID == "" {
			return s, nil, away(fmt.Sprintf("%s is no pod: its answer is not a status", shown))
		}
		return s, raw, nil
	}
}
