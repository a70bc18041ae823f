package main

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"time"

	"github.com/getbindu/bindu-edge/internal/planeclient"
)

// tunnelCmd is `bindu-edge tunnel …`: tunnels of a control plane.
type tunnelCmd struct {
	Create  tunnelCreateCmd  `cmd:"" help:"Make a tunnel, and print the command that opens it."`
	List    tunnelListCmd    `cmd:"" help:"List tunnels and who is connected."`
	Show    tunnelShowCmd    `cmd:"" help:"Show a tunnel."`
	Change  tunnelChangeCmd  `cmd:"" help:"Change a tunnel's name, slug, end, limits or callers."`
	Rotate  tunnelRotateCmd  `cmd:"" help:"Give a tunnel a new token."`
	Revoke  tunnelRevokeCmd  `cmd:"" help:"End a tunnel and its links until it is restored."`
	Restore tunnelRestoreCmd `cmd:"" help:"Take a revocation back."`
	Delete  tunnelDeleteCmd  `cmd:"" help:"Delete a tunnel for good."`
}

// Help is what `tunnel --help` says beyond the list of commands.
func (tunnelCmd) Help() string {
	return `Asks a control plane (bindu-edge control). It needs an API key in BINDU_API_KEY: an operator's to change tunnels, a viewer's to see them.

Examples:

    export BINDU_API_KEY=bek_...
    bindu-edge tunnel create --slug demo --edge https://edge.example.com
    bindu-edge tunnel list --watch
    bindu-edge tunnel change demo --rps 10
    bindu-edge tunnel revoke demo` + exitCodes
}

// named is the argument of a command about one tunnel.
type named struct {
	Tunnel string `arg:"" name:"tunnel" type:"word" help:"The tunnel's id, or its slug."`
}

// shown is how a command about one tunnel prints it.
type shown struct {
	JSON bool     `name:"json" type:"bool" group:"Output" help:"Print the control plane's answer, JSON, as it came."`
	Edge *url.URL `setting:"BINDU_EDGE_URL" type:"url" group:"Output" help:"URL of the edge, for the tunnel's URL and the command that opens it."`
}

// print shows a tunnel that a command changed, with a sentence that says so.
func (s *shown) print(p *process, done string, t planeclient.Tunnel) error {
	if s.JSON {
		return printRaw(p.stdout, t.Raw)
	}
	out := newPaper(p.stdout)
	if done != "" {
		out.line(done)
		out.line("")
	}
	out.fields(describe(t, s.Edge, time.Now()))
	return out.flush()
}

func printRaw(w io.Writer, raw []byte) error {
	_, err := fmt.Fprintf(w, "%s\n", raw)
	return err
}

// tunnelShowCmd is `bindu-edge tunnel show`.
type tunnelShowCmd struct {
	named
	shown
	reach
}

// Help is what `tunnel show --help` says beyond its flags.
func (tunnelShowCmd) Help() string {
	return `Examples:

    bindu-edge tunnel show demo
    bindu-edge tunnel show demo --json | jq .link` + exitCodes
}

// Run shows it.
func (c *tunnelShowCmd) Run(ctx context.Context, p *process) error {
	_, t, err := c.reach.find(ctx, p, c.Tunnel)
	if err != nil {
		return err
	}
	return c.print(p, "", t)
}

// find opens the control plane, and finds the tunnel there.
func (c *reach) find(ctx context.Context, p *process, ref string) (*plane, planeclient.Tunnel, error) {
	at, err := c.open(p)
	if err != nil {
		return nil, planeclient.Tunnel{}, err
	}
	t, err := at.find(ctx, ref)
	return at, t, err
}

// tunnelChangeCmd is `bindu-edge tunnel change`.
type tunnelChangeCmd struct {
	named
	wishes
	NoAuth   bool `type:"bool" group:"Callers" help:"Let callers in without user or token."`
	NoPassOn bool `type:"bool" group:"Callers" help:"The agent does not get the caller's credential."`
	shown
	reach
}

// Help is what `tunnel change --help` says beyond its flags.
func (tunnelChangeCmd) Help() string {
	return `What no flag names stays as it is. A change is in force on every edge within a second, without a reconnect, where edges follow the control plane's events (CONTROL_PLANE_TOKEN).

Examples:

    bindu-edge tunnel change demo --rps 10 --burst 20
    bindu-edge tunnel change demo --max-body none --inflight default
    bindu-edge tunnel change demo --slug demo-2 --expires-in 30d
    bindu-edge tunnel change demo --allow-cidr 192.0.2.0/24,2001:db8::/32
    bindu-edge tunnel change demo --methods GET,HEAD --caller-rps 5
    bindu-edge tunnel change demo --basic-auth alice` + exitCodes
}

// Run changes it.
func (c *tunnelChangeCmd) Run(ctx context.Context, p *process) error {
	const command = "tunnel change"
	at, t, err := c.reach.find(ctx, p, c.Tunnel)
	if err != nil {
		return err
	}
	patch, err := c.patch(ctx, p, command)
	if err != nil {
		return err
	}
	if c.NoAuth {
		if patch["auth"] != nil {
			return &usageError{"--no-auth: given together with a way to authenticate: use one of the two", command}
		}
		patch["auth"] = nil
	}
	if c.NoPassOn {
		auth, given := patch["auth"].(map[string]any)
		switch {
		case c.NoAuth:
			return &usageError{"--no-pass-on: given together with --no-auth, after which there is nothing to pass on: leave it out", command}
		case c.PassOn:
			return &usageError{"--no-pass-on: given together with --pass-on: use one of the two", command}
		case !given:
			auth = map[string]any{}
			patch["auth"] = auth
		}
		auth["pass_on"] = false
	}
	if len(patch) == 0 {
		return &usageError{"nothing to change: give a flag, such as --rps 10", command}
	}
	changed, err := at.ChangeTunnel(ctx, t.ID, patch)
	if err != nil {
		return at.failed(err)
	}
	return c.print(p, "Changed.", changed)
}

// tunnelRevokeCmd is `bindu-edge tunnel revoke`.
type tunnelRevokeCmd struct {
	named
	Yes bool `short:"y" type:"bool" help:"Don't ask."`
	shown
	reach
}

// Help is what `tunnel revoke --help` says beyond its flags.
func (tunnelRevokeCmd) Help() string {
	return `Ends the tunnel's links and running streams on every edge; its agent ends. bindu-edge tunnel restore takes it back.

Examples:

    bindu-edge tunnel revoke demo
    bindu-edge tunnel revoke demo --yes --json` + exitCodes
}

// Run revokes it.
func (c *tunnelRevokeCmd) Run(ctx context.Context, p *process) error {
	at, t, err := c.reach.find(ctx, p, c.Tunnel)
	if err != nil {
		return err
	}
	if err := p.confirm(ctx, c.Yes, "tunnel revoke", "Revoke "+label(t)+"? Its agent ends, and so do running requests."); err != nil {
		return err
	}
	if t, err = at.RevokeTunnel(ctx, t.ID); err != nil {
		return at.failed(err)
	}
	return c.print(p, "Revoked. To take it back: bindu-edge tunnel restore "+t.ID, t)
}

// tunnelRestoreCmd is `bindu-edge tunnel restore`.
type tunnelRestoreCmd struct {
	named
	shown
	reach
}

// Help is what `tunnel restore --help` says beyond its flags.
func (tunnelRestoreCmd) Help() string {
	return `The tunnel's token opens it again. An expired tunnel needs a new end too: bindu-edge tunnel change --expires-in.

Examples:

    bindu-edge tunnel restore demo` + exitCodes
}

// Run restores it.
func (c *tunnelRestoreCmd) Run(ctx context.Context, p *process) error {
	at, t, err := c.reach.find(ctx, p, c.Tunnel)
	if err != nil {
		return err
	}
	if t, err = at.RestoreTunnel(ctx, t.ID); err != nil {
		return at.failed(err)
	}
	return c.print(p, "Restored.", t)
}

// tunnelDeleteCmd is `bindu-edge tunnel delete`.
type tunnelDeleteCmd struct {
	named
	Yes bool `short:"y" type:"bool" help:"Don't ask."`
	reach
}

// Help is what `tunnel delete --help` says beyond its flags.
func (tunnelDeleteCmd) Help() string {
	return `There is no way back, and nobody may have the tunnel's slug for 30 days. bindu-edge tunnel revoke can be taken back.

Examples:

    bindu-edge tunnel delete demo
    bindu-edge tunnel delete demo --yes` + exitCodes
}

// Run deletes it.
func (c *tunnelDeleteCmd) Run(ctx context.Context, p *process) error {
	at, t, err := c.reach.find(ctx, p, c.Tunnel)
	if err != nil {
		return err
	}
	if err := p.confirm(ctx, c.Yes, "tunnel delete", "Delete "+label(t)+" for good?"); err != nil {
		return err
	}
	if err := at.DeleteTunnel(ctx, t.ID); err != nil {
		return at.failed(err)
	}
	_, err = fmt.Fprintf(p.stdout, "Deleted tunnel %s. Its slug %s is held back for 30 days.\n", t.ID, t.Slug)
	return err
}
