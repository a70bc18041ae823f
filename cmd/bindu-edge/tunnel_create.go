package main

import (
	"context"
	"net/url"
	"strings"
	"time"

	"github.com/getbindu/bindu-edge/agent"
	"github.com/getbindu/bindu-edge/internal/planeclient"
	"github.com/getbindu/bindu-edge/internal/terminal"
)

// opening is what the command that opens a tunnel needs beside the tunnel.
type opening struct {
	Target string `default:"3000" group:"Output" placeholder:"PORT" help:"What the printed command exposes: a port of the agent's machine, host:port, or a URL."`
	OnceID string `name:"idempotency-key" type:"word" group:"Control plane" placeholder:"WORD" help:"The same command with the same word gives the same answer for 24 hours, so a script may try again (with --expires-at, as --expires-in differs each time). Default: a random one for the tries of one run."`
}

func (o *opening) check(command string) error {
	if _, err := agent.ParseTarget(o.Target); err != nil {
		return &usageError{"--target: " + err.Error(), command}
	}
	return nil
}

// command is what opens the tunnel, ready to be pasted into a shell. The token
// is in the environment, where other users of the machine don't see it.
func (o *opening) command(t planeclient.Tunnel, edge *url.URL) string {
	where := "https://YOUR-EDGE"
	if edge != nil {
		where = strings.TrimSuffix(edge.String(), "/")
	}
	return "BINDU_TUNNEL_TOKEN=" + quote(t.Token) + " bindu-edge http " + quote(o.Target) + " --edge " + quote(where) + " --tunnel-id " + quote(t.ID)
}

// quote makes text one word for a POSIX shell.
func quote(text string) string {
	plain := text != "" && strings.Trim(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./:@%+,=") == ""
	if plain {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}

// tunnelCreateCmd is `bindu-edge tunnel create`.
type tunnelCreateCmd struct {
	wishes
	shown
	opening
	reach
}

// Help is what `tunnel create --help` says beyond its flags.
func (tunnelCreateCmd) Help() string {
	return `Prints the tunnel's token, which is shown this once, and the command that opens the tunnel. Without --slug it gets one that nobody can guess, without an end it lasts 30 days.

Examples:

    bindu-edge tunnel create --edge https://edge.example.com
    bindu-edge tunnel create --slug demo --name "Demo of the agent" --expires-in 720h --target 3773
    bindu-edge tunnel create --rps 10 --burst 20 --inflight 50 --max-body 10MB
    bindu-edge tunnel create --allow-cidr 192.0.2.0/24 --basic-auth-file users
    bindu-edge tunnel create --json | jq -r .token > token` + exitCodes
}

// Run makes it.
func (c *tunnelCreateCmd) Run(ctx context.Context, p *process) error {
	const command = "tunnel create"
	if err := c.check(command); err != nil {
		return err
	}
	at, err := c.open(p)
	if err != nil {
		return err
	}
	patch, err := c.patch(ctx, p, command)
	if err != nil {
		return err
	}
	word := once(c.OnceID)
	t, err := at.CreateTunnel(ctx, patch, word)
	if err != nil {
		return at.failedOnce(err, word)
	}
	return c.printOpening(p, "Tunnel made.", t, c.shown)
}

// printOpening prints a tunnel with its new token and what to do with it.
func (o *opening) printOpening(p *process, done string, t planeclient.Tunnel, how shown) error {
	if how.JSON {
		return printRaw(p.stdout, t.Raw)
	}
	out := newPaper(p.stdout)
	out.line(done)
	out.line("")
	out.fields(append(describe(t, how.Edge, time.Now()), field{"token", cell{t.Token + "  (shown this once)", plain}}))
	out.line("")
	out.line("Open it, beside your server:")
	out.line("")
	out.line("    " + terminal.Clean(o.command(t, how.Edge)))
	return out.flush()
}

// tunnelRotateCmd is `bindu-edge tunnel rotate`.
type tunnelRotateCmd struct {
	named
	Overlap span `placeholder:"DURATION" help:"How long the old token opens the tunnel too, at most 7d. Without it links that it opened end at once."`
	shown
	opening
	reach
}

// Help is what `tunnel rotate --help` says beyond its flags.
func (tunnelRotateCmd) Help() string {
	return `Prints the new token, which is shown this once. The old one is of no use from now on, or after the overlap.

Examples:

    bindu-edge tunnel rotate demo --overlap 10m
    bindu-edge tunnel rotate demo --json | jq -r .token > token` + exitCodes
}

// Run rotates it.
func (c *tunnelRotateCmd) Run(ctx context.Context, p *process) error {
	const command = "tunnel rotate"
	if err := c.check(command); err != nil {
		return err
	}
	if c.Overlap.Duration%time.Second != 0 {
		return &usageError{"--overlap: use whole seconds", command}
	}
	at, t, err := c.reach.find(ctx, p, c.Tunnel)
	if err != nil {
		return err
	}
	word := once(c.OnceID)
	t, err = at.RotateToken(ctx, t.ID, c.Overlap.Duration, word)
	if err != nil {
		return at.failedOnce(err, word)
	}
	done := "New token. The old one is of no use any more, and links that it opened end."
	if c.Overlap.Duration > 0 {
		done = "New token. The old one opens the tunnel until then, too."
	}
	return c.printOpening(p, done, t, c.shown)
}
