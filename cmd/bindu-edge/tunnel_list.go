package main

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/getbindu/bindu-edge/internal/planeclient"
)

// tunnelListCmd is `bindu-edge tunnel list`.
type tunnelListCmd struct {
	Search    string `group:"Filter" placeholder:"TEXT" help:"Only tunnels with this in slug, name or id, in any case."`
	Status    string `type:"choice" choices:"active,expired,revoked" group:"Filter" help:"Only tunnels that are:"`
	Connected string `type:"choice" choices:"true,false,unknown" group:"Filter" help:"Only tunnels whose agent is connected; unknown: their pod was not heard of for 90 seconds."`
	Limit     int    `type:"count" min:"0" max:"1000000" zero:"all" default:"0" group:"Filter" help:"How many to list, newest first. With --watch at most 500 unless given."`
	Cursor    string `type:"word" group:"Filter" help:"Where to go on: next of an earlier list with --limit and --json."`

	Watch    bool          `short:"w" type:"bool" group:"Output" help:"Keep the list up to date on a terminal; print each change as a line anywhere else. Ctrl-C ends."`
	Interval time.Duration `type:"seconds" min:"0.2" max:"3600" default:"2" group:"Output" help:"How often --watch looks."`
	JSON     bool          `name:"json" type:"bool" group:"Output" help:"Print JSON: the control plane's, all pages as one; with --watch an object a line for each change."`
	reach
}

// Help is what `tunnel list --help` says beyond its flags.
func (tunnelListCmd) Help() string {
	return `Examples:

    bindu-edge tunnel list
    bindu-edge tunnel list --status active --connected false
    bindu-edge tunnel list --search demo --watch
    bindu-edge tunnel list --json | jq -r '.tunnels[].slug'` + exitCodes
}

// Run lists them.
func (c *tunnelListCmd) Run(ctx context.Context, p *process) error {
	at, err := c.open(p)
	if err != nil {
		return err
	}
	filter := planeclient.Filter{Search: c.Search, Status: c.Status, Connected: c.Connected, Cursor: c.Cursor, Limit: c.Limit}
	if c.Watch {
		if filter.Limit == 0 {
			filter.Limit = planeclient.MaxPage
		}
		return watchTunnels(ctx, p, at, filter, c.Interval, c.JSON)
	}
	list, next, err := at.ListTunnels(ctx, filter)
	if err != nil {
		return at.failed(err)
	}
	if c.JSON {
		return printPage(p, list, next)
	}
	if len(list) == 0 {
		why := "no tunnels: bindu-edge tunnel create makes one"
		if c.Search+c.Status+c.Connected+c.Cursor != "" {
			why = "no tunnel fits: leave out a filter to see more"
		}
		_, err := fmt.Fprintln(p.stderr, why)
		return err
	}
	out := newPaper(p.stdout)
	for _, line := range out.align(tableOf(list, time.Now())) {
		out.line(line)
	}
	if err := out.flush(); err != nil {
		return err
	}
	if next != "" {
		_, err = fmt.Fprintf(p.stderr, "there are more: leave out --limit, or go on with --cursor %s\n", next)
	}
	return err
}

// printPage writes the list as the API does a page of it.
func printPage(p *process, list []planeclient.Tunnel, next string) error {
	page := struct {
		Tunnels []json.RawMessage `json:"tunnels"`
		Next    *string           `json:"next"`
	}{Tunnels: make([]json.RawMessage, len(list))}
	for i, t := range list {
		page.Tunnels[i] = t.Raw
	}
	if next != "" {
		page.Next = &next
	}
	encoder := json.NewEncoder(p.stdout)
	encoder.SetEscapeHTML(false)
	return encoder.Encode(page)
}
