package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/getbindu/bindu-edge/internal/config"
	"github.com/getbindu/bindu-edge/internal/planeclient"
	"github.com/getbindu/bindu-edge/internal/terminal"
)

// Exit codes of the commands that ask a control plane, beside exitFailed and
// exitUsage.
const (
	exitMissing = 3
	exitRefused = 4
	exitAway    = 5
)

// exitCodes is for the help of those commands.
const exitCodes = `

Exit codes: 0 done; 1 failed, or not confirmed; 2 the command line or a value is wrong; 3 there is no such tunnel or key; 4 refused: no API key, a wrong one, or one without the role; 5 no control plane answers there, or it can't answer now.`

// reach says which control plane to ask, and with which key.
type reach struct {
	ControlPlane *url.URL      `setting:"BINDU_CONTROL_PLANE_URL" type:"url" default:"http://localhost:8000" group:"Control plane" help:"URL of the control plane."`
	APIKey       config.Secret `setting:"BINDU_API_KEY" type:"secret" placeholder:"KEY" group:"Control plane" help:"API key. The environment or a file is better: a flag shows in the list of processes."`
	APIKeyFile   string        `setting:"BINDU_API_KEY_FILE" type:"path" group:"Control plane" help:"File that holds the API key; - for standard input."`
	CAFile       string        `name:"ca-file" type:"path" group:"Control plane" help:"Authority that the control plane's certificate is verified with instead of the system's, PEM."`
}

// open makes the client that the flags ask for.
func (c *reach) open(p *process) (*plane, error) {
	name, key := p.settings.Name, c.APIKey
	if c.APIKeyFile != "" {
		fileName := name("BINDU_API_KEY_FILE")
		if !key.IsZero() {
			return nil, &config.SettingError{Name: fileName, Msg: "given together with " + name("BINDU_API_KEY") + ": use one of the two"}
		}
		var err error
		if c.APIKeyFile == "-" {
			if key, err = config.ReadSecret(p.stdin); err != nil {
				return nil, &config.SettingError{Name: fileName, Msg: "standard input " + err.Error()}
			}
		} else if key, err = config.ReadSecretFile(c.APIKeyFile); err != nil {
			return nil, &config.SettingError{Name: fileName, Msg: err.Error()}
		}
	}
	if key.IsZero() {
		return nil, &advice{code: exitRefused, msg: "no API key", next: "set BINDU_API_KEY or give --api-key-file; bindu-edge control prints an admin's key at its first start, and bindu-edge key create makes more"}
	}
	if strings.ContainsAny(key.Reveal(), " ") {
		return nil, &config.SettingError{Name: name("BINDU_API_KEY"), Msg: "holds a space: an API key is one word"}
	}
	roots, err := trust(c.CAFile, false, "--ca-file")
	if err != nil {
		return nil, err
	}
	client, err := planeclient.New(planeclient.Options{
		BaseURL: c.ControlPlane, Key: key.Reveal(), UserAgent: userAgent(), TLS: roots,
	})
	if err != nil {
		return nil, err
	}
	return &plane{Client: client, url: c.ControlPlane.String()}, nil
}

// plane is the control plane that a command asks.
type plane struct {
	*planeclient.Client
	url string
}

// find gives the tunnel with this id, or else the one with this slug. Ids win,
// so that a slug which looks like an id leads nobody to the wrong tunnel.
func (c *plane) find(ctx context.Context, ref string) (planeclient.Tunnel, error) {
	t, err := c.ShowTunnel(ctx, ref)
	if err == nil {
		return t, nil
	}
	told := c.failed(err)
	if !planeclient.IsMissing(err) {
		return t, told
	}
	list, _, err := c.ListTunnels(ctx, planeclient.Filter{Search: ref, Limit: 1}) // a whole slug is found first
	if e, ok := errors.AsType[*planeclient.Error](err); ok && e.Status == http.StatusUnprocessableEntity {
		return t, told // what can't be searched for is no slug
	}
	if err != nil {
		return t, c.failed(err)
	}
	for _, one := range list {
		if one.Slug == ref {
			return one, nil
		}
	}
	return t, &advice{code: exitMissing, msg: fmt.Sprintf("no tunnel has the id or the slug %s", terminal.Clean(ref)), next: "bindu-edge tunnel list"}
}

// advice is an error with what to do next, and the exit code that tells it.
type advice struct {
	code int
	msg  string
	next string // empty = nothing sensible
}

func (e *advice) Error() string { return e.msg }

// flagOf is the flag behind a part of the API's questions.
var flagOf = map[string]string{
	"body.slug": "--slug", "body.name": "--name", "body.role": "--role", "body.expires_at": "--expires-in or --expires-at",
	"body.limits.rps": "--rps", "body.limits.burst": "--burst", "body.limits.inflight": "--inflight", "body.limits.body_bytes": "--max-body",
	"body.limits.caller_rps": "--caller-rps", "body.limits.response_bytes": "--max-response", "body.auth.pass_on": "--pass-on",
	"body.overlap_seconds": "--overlap", "query.search": "--search", "query.cursor": "--cursor",
	"header.Idempotency-Key": "--idempotency-key", "header.idempotency-key": "--idempotency-key",
}

var flagsOf = []struct{ prefix, flag string }{
	{"body.cidrs.allow", "--allow-cidr"}, {"body.cidrs.deny", "--deny-cidr"}, {"body.auth", "caller authentication"}, {"body.limits.methods", "--methods"},
}

func flagAt(location string) string {
	if flag, ok := flagOf[location]; ok {
		return flag
	}
	for _, f := range flagsOf {
		if strings.HasPrefix(location, f.prefix) {
			return f.flag
		}
	}
	return location
}

// failed says for people what went wrong at the control plane, and what to do.
func (c *plane) failed(err error) error {
	if err == nil {
		return nil
	}
	if away, ok := errors.AsType[*planeclient.AwayError](err); ok {
		msg := fmt.Sprintf("the control plane at %s does not answer: %v", c.url, away.Err)
		if away.Lost {
			msg += " (what was asked for may have been done)"
		}
		return &advice{code: exitAway, msg: terminal.Clean(msg), next: "bindu-edge control (which runs one), or --control-plane URL if it is elsewhere"}
	}
	if foreign, ok := errors.AsType[*planeclient.ForeignError](err); ok {
		return &advice{
			code: exitAway, msg: terminal.Clean(fmt.Sprintf("%s is no control plane: %d %s, %s", c.url, foreign.Status, http.StatusText(foreign.Status), foreign.Reason)),
			next: "--control-plane URL, such as http://localhost:8000",
		}
	}
	if errors.Is(err, context.Canceled) {
		return fmt.Errorf("interrupted: %w", err)
	}
	refusal, ok := errors.AsType[*planeclient.Error](err)
	if !ok {
		return err
	}
	msg := terminal.Clean(refusal.Detail)
	switch refusal.Status {
	case http.StatusUnauthorized:
		return &advice{code: exitRefused, msg: "the API key is refused: " + msg, next: "another key in BINDU_API_KEY; an admin makes one with bindu-edge key create"}
	case http.StatusForbidden:
		return &advice{code: exitRefused, msg: msg, next: "a key with another role: operator changes tunnels, admin manages keys too, viewer reads"}
	case http.StatusTooManyRequests:
		return &advice{code: exitRefused, msg: fmt.Sprintf("%s Wait %s.", msg, refusal.RetryAfter), next: "a right key in BINDU_API_KEY, after that"}
	case http.StatusNotFound:
		return &advice{code: exitMissing, msg: msg}
	case http.StatusConflict:
		e := &advice{code: exitFailed, msg: msg}
		if len(refusal.Fields) > 0 && refusal.Fields[0].Location == "body.slug" {
			e.next = "another --slug, or none for one that nobody can guess"
		}
		return e
	case http.StatusBadRequest, http.StatusUnprocessableEntity:
		for i, f := range refusal.Fields {
			part := flagAt(f.Location) + ": " + f.Message
			if i == 0 {
				msg = terminal.Clean(part)
			} else {
				msg += "; " + terminal.Clean(part)
			}
		}
		return &advice{code: exitUsage, msg: msg}
	}
	return &advice{code: exitFailed, msg: msg}
}

// failedOnce is failed for a call that makes something: after a lost answer it
// says how to ask again without making another.
func (c *plane) failedOnce(err error, word string) error {
	told := c.failed(err)
	away, ok := errors.AsType[*planeclient.AwayError](err)
	if advised, is := errors.AsType[*advice](told); ok && is && away.Lost {
		advised.next = "the same again with --idempotency-key " + word + ", which does it only once"
	}
	return told
}

// once is the Idempotency-Key of a call that makes something: the one that was
// given, or one of its own for the tries of this run.
func once(given string) string {
	if given != "" {
		return given
	}
	return rand.Text()
}
