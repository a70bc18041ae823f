package api

import (
	"time"

	"github.com/getbindu/bindu-edge/internal/control"
	"github.com/getbindu/bindu-edge/internal/tunnel"
)

// TunnelShown is a tunnel as the API shows it, without secrets and their hashes.
type TunnelShown struct {
	ID            tunnel.ID     `json:"tunnel_id"`
	Slug          tunnel.Slug   `json:"slug"`
	Name          string        `json:"name"`
	Status        tunnel.Status `json:"status" enum:"active,expired,revoked"`
	ExpiresAt     time.Time     `json:"expires_at"`
	CreatedAt     time.Time     `json:"created_at"`
	UpdatedAt     time.Time     `json:"updated_at"`
	RevokedAt     time.Time     `json:"revoked_at,omitzero"`
	OldTokenUntil time.Time     `json:"old_token_until,omitzero" doc:"Until when the token before the last rotation still opens the tunnel."`
	Limits        limitsShown   `json:"limits" doc:"Only what was set."`
	Auth          authShown     `json:"auth"`
	CIDRs         cidrsShown    `json:"cidrs"`
	Link          linkShown     `json:"link"`
}

type limitsShown struct {
	RPS       *float64 `json:"rps,omitempty"`
	Burst     *int     `json:"burst,omitempty"`
	InFlight  *int     `json:"inflight,omitempty"`
	BodyBytes *int64   `json:"body_bytes,omitempty"`

	CallerRPS     *float64 `json:"caller_rps,omitempty"`
	ResponseBytes *int64   `json:"response_bytes,omitempty"`

	Methods []string `json:"methods,omitempty" nullable:"false"`
}

type authShown struct {
	Type        string            `json:"type" enum:"none,basic,bearer"`
	Credentials []credentialShown `json:"credentials,omitempty" nullable:"false"`
	PassOn      bool              `json:"pass_on,omitempty" doc:"The agent gets the credential too."`
}

type credentialShown struct {
	User string `json:"user,omitempty"`
}

type cidrsShown struct {
	Allow []string `json:"allow" nullable:"false"`
	Deny  []string `json:"deny" nullable:"false"`
}

// linkShown is the last that was heard of a tunnel's link.
type linkShown struct {
	State        control.LinkState `json:"state" enum:"connected,offline,unknown" doc:"unknown: its pod was not heard of for 90 seconds."`
	Pod          tunnel.PodID      `json:"pod_id,omitempty"`
	Since        time.Time         `json:"since,omitzero" doc:"Since when it is in this state."`
	Protocol     string            `json:"protocol,omitempty"`
	AgentVersion string            `json:"agent_version,omitempty"`
	LastError    string            `json:"last_error,omitempty" doc:"Why the last link ended, or was refused."`
	LastErrorAt  time.Time         `json:"last_error_at,omitzero"`
}

func show(l control.Listed) TunnelShown {
	t, now := l.Tunnel, time.Now()
	s := TunnelShown{
		ID: t.ID, Slug: t.Slug, Name: t.Name, Status: t.Status(now),
		ExpiresAt: t.ExpiresAt, CreatedAt: t.CreatedAt, UpdatedAt: t.UpdatedAt, RevokedAt: t.RevokedAt,
		Limits: limitsShown(t.Limits),
		Auth:   authShown{Type: "none"},
		CIDRs:  cidrsShown{Allow: []string{}, Deny: []string{}},
		Link: linkShown{
			State: l.Link.State, Pod: l.Link.Pod, Since: l.Link.Since, Protocol: l.Link.Protocol,
			AgentVersion: l.Link.Agent, LastError: l.Link.LastError, LastErrorAt: l.Link.LastErrorAt,
		},
	}
	if s.Link.State == "" {
		s.Link.State = control.LinkOffline
	}
	if now.Before(t.OldTokenUntil) {
		s.OldTokenUntil = t.OldTokenUntil
	}
	if t.Auth.Kind != control.AuthNone {
		s.Auth.Type, s.Auth.PassOn = string(t.Auth.Kind), t.Auth.PassOn
		for _, c := range t.Auth.Credentials {
			s.Auth.Credentials = append(s.Auth.Credentials, credentialShown{c.User})
		}
	}
	for _, p := range t.CIDRs.Allow {
		s.CIDRs.Allow = append(s.CIDRs.Allow, p.String())
	}
	for _, p := range t.CIDRs.Deny {
		s.CIDRs.Deny = append(s.CIDRs.Deny, p.String())
	}
	return s
}
