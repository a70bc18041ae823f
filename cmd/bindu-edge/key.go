package main

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/getbindu/bindu-edge/internal/control"
	"github.com/getbindu/bindu-edge/internal/planeclient"
	"github.com/getbindu/bindu-edge/internal/terminal"
)

// keyCmd is `bindu-edge key …`: API keys of a control plane.
type keyCmd struct {
	Create   keyCreateCmd   `cmd:"" help:"Make an API key."`
	List     keyListCmd     `cmd:"" help:"List API keys."`
	Revoke   keyRevokeCmd   `cmd:"" help:"End an API key."`
	Generate keyGenerateCmd `cmd:"" help:"Print a new key for ADMIN_API_KEY_FILE; asks no control plane."`
}

// Help is what `key --help` says beyond the list of commands.
func (keyCmd) Help() string {
	return `API keys say who may do what at a control plane. Roles: admin does everything, operator changes tunnels, viewer reads, edge is for edges (CONTROL_PLANE_TOKEN). These commands, but for generate, need an admin's key in BINDU_API_KEY.

Examples:

    bindu-edge key create --name edges --role edge
    bindu-edge key list
    bindu-edge key generate > admin.key` + exitCodes
}

// keyCreateCmd is `bindu-edge key create`.
type keyCreateCmd struct {
	Name   string `required:"" placeholder:"TEXT" help:"Whose it is, for people and the audit log: 1 to 100 characters."`
	Role   string `required:"" type:"choice" choices:"admin,operator,viewer,edge" help:"What it may do:"`
	JSON   bool   `name:"json" type:"bool" group:"Output" help:"Print the control plane's answer, JSON, as it came."`
	OnceID string `name:"idempotency-key" type:"word" group:"Control plane" placeholder:"WORD" help:"The same command with the same word gives the same answer for 24 hours, so a script may try again. Default: a random one for the tries of one run."`
	reach
}

// Help is what `key create --help` says beyond its flags.
func (keyCreateCmd) Help() string {
	return `The key is shown this once.

Examples:

    bindu-edge key create --name ci --role operator
    CONTROL_PLANE_TOKEN=$(bindu-edge key create --name edges --role edge --json | jq -r .key)` + exitCodes
}

// Run makes it.
func (c *keyCreateCmd) Run(ctx context.Context, p *process) error {
	at, err := c.open(p)
	if err != nil {
		return err
	}
	word := once(c.OnceID)
	k, err := at.CreateKey(ctx, c.Name, c.Role, word)
	if err != nil {
		return at.failedOnce(err, word)
	}
	if c.JSON {
		return printRaw(p.stdout, k.Raw)
	}
	out := newPaper(p.stdout)
	out.line("API key made.")
	out.line("")
	out.fields([]field{
		{"id", cell{k.ID, plain}}, {"name", cell{k.Name, plain}}, {"role", cell{k.Role, plain}},
		{"key", cell{k.Secret + "  (shown this once)", plain}},
	})
	if k.Role == string(control.RoleEdge) {
		out.line("")
		out.line("An edge takes it from CONTROL_PLANE_TOKEN or CONTROL_PLANE_TOKEN_FILE.")
	}
	return out.flush()
}

// keyListCmd is `bindu-edge key list`.
type keyListCmd struct {
	JSON bool `name:"json" type:"bool" group:"Output" help:"Print the control plane's JSON."`
	reach
}

// Help is what `key list --help` says beyond its flags.
func (keyListCmd) Help() string {
	return `Examples:

    bindu-edge key list
    bindu-edge key list --json | jq -r '.keys[] | select(.role == "admin").name'` + exitCodes
}

// Run lists them.
func (c *keyListCmd) Run(ctx context.Context, p *process) error {
	at, err := c.open(p)
	if err != nil {
		return err
	}
	list, err := at.ListKeys(ctx)
	if err != nil {
		return at.failed(err)
	}
	if c.JSON {
		answer := struct {
			Keys []json.RawMessage `json:"keys"`
		}{make([]json.RawMessage, len(list))}
		for i, k := range list {
			answer.Keys[i] = k.Raw
		}
		encoder := json.NewEncoder(p.stdout)
		encoder.SetEscapeHTML(false)
		return encoder.Encode(answer)
	}
	out := newPaper(p.stdout)
	for _, line := range out.align(keyTable(list, time.Now())) {
		out.line(line)
	}
	return out.flush()
}

func keyTable(list []planeclient.Key, now time.Time) [][]cell {
	rows := [][]cell{{{"ID", bold}, {"NAME", bold}, {"ROLE", bold}, {"STATUS", bold}, {"MADE", bold}, {"USED", bold}}}
	for _, k := range list {
		status := cell{"active", green}
		if !k.RevokedAt.IsZero() {
			status = cell{"revoked", red}
		}
		rows = append(rows, []cell{{k.ID, plain}, {k.Name, plain}, {k.Role, plain}, status, {ago(k.CreatedAt, now), faint}, {ago(k.LastUsedAt, now), plain}})
	}
	return rows
}

// keyRevokeCmd is `bindu-edge key revoke`.
type keyRevokeCmd struct {
	Key string `arg:"" name:"key-id" type:"word" help:"The key's id, from bindu-edge key list."`
	Yes bool   `short:"y" type:"bool" help:"Don't ask."`
	reach
}

// Help is what `key revoke --help` says beyond its flags.
func (keyRevokeCmd) Help() string {
	return `At once and for good. The last admin's key can't be revoked.

Examples:

    bindu-edge key revoke ID` + exitCodes
}

// Run revokes it.
func (c *keyRevokeCmd) Run(ctx context.Context, p *process) error {
	at, err := c.open(p)
	if err != nil {
		return err
	}
	if err := p.confirm(ctx, c.Yes, "key revoke", "Revoke API key "+terminal.Clean(c.Key)+" for good?"); err != nil {
		return err
	}
	if err := at.RevokeKey(ctx, c.Key); err != nil {
		return at.failed(err)
	}
	_, err = fmt.Fprintf(p.stdout, "Revoked API key %s.\n", terminal.Clean(c.Key))
	return err
}

// keyGenerateCmd is `bindu-edge key generate`.
type keyGenerateCmd struct{}

// Help is what `key generate --help` says beyond its flags.
func (keyGenerateCmd) Help() string {
	return `A control plane that starts with ADMIN_API_KEY_FILE makes the key in that file an admin's.

Examples:

    (umask 077; bindu-edge key generate > admin.key)
    ADMIN_API_KEY_FILE=admin.key bindu-edge control`
}

// Run prints it.
func (keyGenerateCmd) Run(p *process) error {
	_, err := fmt.Fprintln(p.stdout, control.NewKey())
	return err
}
