package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/getbindu/bindu-edge/internal/config"
	"github.com/getbindu/bindu-edge/internal/planeclient"
)

// wishes are the flags that say what a tunnel is to be.
type wishes struct {
	Slug      string  `type:"word" group:"Tunnel" help:"Name in the tunnel's URL: 3 to 63 of a-z 0-9 -."`
	Name      *string `group:"Tunnel" placeholder:"TEXT" help:"For people: at most 100 characters."`
	ExpiresIn span    `group:"Tunnel" placeholder:"DURATION" help:"End of the tunnel, from now: 12h, 720h, 30d."`
	ExpiresAt moment  `group:"Tunnel" placeholder:"TIME" help:"End of the tunnel: 2027-01-31T12:00:00Z, or 2027-01-31 for its first moment in UTC."`

	RPS         rateLimit  `name:"rps" group:"Limits" placeholder:"N" help:"Requests a second: 0 to 1000000; none for no limit, default for the edge's setting."`
	Burst       countLimit `group:"Limits" placeholder:"N" help:"Requests at once before --rps counts: 0 to 1000000 (0: one second's worth), or default."`
	CallerRPS   rateLimit  `name:"caller-rps" group:"Limits" placeholder:"N" help:"Requests a second from one address (IPv6: /64): 0 to 1000000, none or default."`
	InFlight    countLimit `name:"inflight" group:"Limits" placeholder:"N" help:"Requests at a time: 0 to 1000000, none or default."`
	MaxBody     sizeLimit  `group:"Limits" placeholder:"SIZE" help:"Bytes of one request's body: 65536, 64KiB, 10MB, none or default."`
	MaxResponse sizeLimit  `group:"Limits" placeholder:"SIZE" help:"Bytes of one answer's body, event streams too: 65536, 64KiB, 10MB, none or default."`
	Methods     methodList `group:"Limits" placeholder:"METHODS" help:"Methods that callers may use, comma separated, of those that the edge lets in; default for all of these."`

	AllowCIDR     []string `name:"allow-cidr" group:"Callers" placeholder:"CIDR" help:"Networks or addresses that callers may come from, comma separated or one a flag; none for all."`
	DenyCIDR      []string `name:"deny-cidr" group:"Callers" placeholder:"CIDR" help:"Networks or addresses that callers may not come from; wins over the above. none for an empty list."`
	BasicAuth     string   `type:"word" group:"Callers" placeholder:"USER" help:"Callers need this user's password (HTTP Basic), which is asked for on the terminal."`
	BasicAuthFile string   `type:"path" group:"Callers" help:"File with user:password, one a line, at most 16; - for standard input."`
	BearerFile    string   `type:"path" group:"Callers" help:"File with tokens that callers need one of (Authorization: Bearer), one a line, at most 16; - for standard input."`
	PassOn        bool     `type:"bool" group:"Callers" help:"The agent gets the caller's credential too."`
}

// patch is what the flags ask for, as a merge patch.
func (w *wishes) patch(ctx context.Context, p *process, command string) (planeclient.Patch, error) {
	patch := planeclient.Patch{}
	if w.Slug != "" {
		patch["slug"] = w.Slug
	}
	if w.Name != nil {
		patch["name"] = *w.Name
	}
	switch {
	case w.ExpiresIn.given && !w.ExpiresAt.IsZero():
		return nil, &usageError{"--expires-at: given together with --expires-in: use one of the two", command}
	case w.ExpiresIn.given:
		patch["expires_at"] = time.Now().Add(w.ExpiresIn.Duration).UTC().Truncate(time.Second)
	case !w.ExpiresAt.IsZero():
		patch["expires_at"] = w.ExpiresAt.UTC()
	}
	limits := map[string]any{}
	w.RPS.put(limits, "rps")
	w.Burst.put(limits, "burst")
	w.CallerRPS.put(limits, "caller_rps")
	w.InFlight.put(limits, "inflight")
	w.MaxBody.put(limits, "body_bytes")
	w.MaxResponse.put(limits, "response_bytes")
	w.Methods.put(limits, "methods")
	if len(limits) > 0 {
		patch["limits"] = limits
	}
	cidrs := map[string]any{}
	putList(cidrs, "allow", w.AllowCIDR)
	putList(cidrs, "deny", w.DenyCIDR)
	if len(cidrs) > 0 {
		patch["cidrs"] = cidrs
	}
	auth, err := w.auth(ctx, p, command)
	if err != nil {
		return nil, err
	}
	if w.PassOn {
		if auth == nil {
			auth = map[string]any{}
		}
		auth["pass_on"] = true
	}
	if auth != nil {
		patch["auth"] = auth
	}
	return patch, nil
}

// putList adds a list; the word none alone empties it.
func putList(patch map[string]any, name string, list []string) {
	switch {
	case len(list) == 1 && strings.EqualFold(list[0], "none"):
		patch[name] = []string{}
	case len(list) > 0:
		patch[name] = list
	}
}

// auth is how callers must say who they are; nil when no flag says.
func (w *wishes) auth(ctx context.Context, p *process, command string) (map[string]any, error) {
	given := 0
	for _, flag := range []string{w.BasicAuth, w.BasicAuthFile, w.BearerFile} {
		if flag != "" {
			given++
		}
	}
	if given > 1 {
		return nil, &usageError{"--basic-auth, --basic-auth-file, --bearer-file: given together: use one of them", command}
	}
	type credential struct {
		User     string `json:"user,omitempty"`
		Password string `json:"password,omitempty"`
		Token    string `json:"token,omitempty"`
	}
	var list []credential
	kind := "basic"
	switch {
	case w.BasicAuth != "":
		if strings.Contains(w.BasicAuth, ":") {
			return nil, &usageError{"--basic-auth: give the user alone: the password is asked for", command}
		}
		password, err := p.askPassword(ctx, "--basic-auth", w.BasicAuth, command)
		if err != nil {
			return nil, err
		}
		list = append(list, credential{User: w.BasicAuth, Password: password})
	case w.BasicAuthFile != "":
		lines, err := p.readLines(w.BasicAuthFile)
		if err != nil {
			return nil, &config.SettingError{Name: "--basic-auth-file", Msg: err.Error()}
		}
		for i, line := range lines {
			user, password, found := strings.Cut(line, ":")
			if !found || user == "" || password == "" {
				return nil, &config.SettingError{Name: "--basic-auth-file", Msg: fmt.Sprintf("line %d is not user:password", i+1)}
			}
			list = append(list, credential{User: user, Password: password})
		}
	case w.BearerFile != "":
		lines, err := p.readLines(w.BearerFile)
		if err != nil {
			return nil, &config.SettingError{Name: "--bearer-file", Msg: err.Error()}
		}
		for _, line := range lines {
			list = append(list, credential{Token: line})
		}
		kind = "bearer"
	default:
		return nil, nil
	}
	return map[string]any{"type": kind, "credentials": list}, nil
}
