package planeclient

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// Tunnel is a tunnel as the control plane shows it. A time that is not there
// is zero.
type Tunnel struct {
	ID            string    `json:"tunnel_id"`
	Slug          string    `json:"slug"`
	Name          string    `json:"name"`
	Status        string    `json:"status"` // active, expired or revoked
	ExpiresAt     time.Time `json:"expires_at"`
	CreatedAt     time.Time `json:"created_at"`
	UpdatedAt     time.Time `json:"updated_at"`
	RevokedAt     time.Time `json:"revoked_at"`
	OldTokenUntil time.Time `json:"old_token_until"`
	Limits        Limits    `json:"limits"`
	Auth          Auth      `json:"auth"`
	CIDRs         CIDRs     `json:"cidrs"`
	Link          Link      `json:"link"`
	Token         string    `json:"token"` // only where it is made

	Raw json.RawMessage `json:"-"` // the answer itself
}

// Limits of a tunnel; nil leaves the part to the edge's setting, 0 is no limit.
type Limits struct {
	RPS       *float64 `json:"rps"`        // requests a second
	Burst     *int64   `json:"burst"`      // requests at once; 0 = one second's worth
	InFlight  *int64   `json:"inflight"`   // requests at a time
	BodyBytes *int64   `json:"body_bytes"` // of one request

	CallerRPS     *float64 `json:"caller_rps"`     // requests a second from one address
	ResponseBytes *int64   `json:"response_bytes"` // of one answer
	Methods       []string `json:"methods"`        // nil = those that the edge lets in
}

// Auth says which callers a tunnel lets in.
type Auth struct {
	Type        string `json:"type"` // none, basic or bearer
	Credentials []struct {
		User string `json:"user"`
	} `json:"credentials"`
	PassOn bool `json:"pass_on"` // the agent gets the credential too
}

// CIDRs say from which addresses callers may come.
type CIDRs struct {
	Allow []string `json:"allow"`
	Deny  []string `json:"deny"`
}

// Link is the last that was heard of a tunnel's agent.
type Link struct {
	State        string    `json:"state"` // connected, offline or unknown
	Pod          string    `json:"pod_id"`
	Since        time.Time `json:"since"`
	Protocol     string    `json:"protocol"`
	AgentVersion string    `json:"agent_version"`
	LastError    string    `json:"last_error"`
	LastErrorAt  time.Time `json:"last_error_at"`
}

// UnmarshalJSON keeps the text too, for those who want it as it came.
func (t *Tunnel) UnmarshalJSON(text []byte) error {
	type plain Tunnel
	if err := json.Unmarshal(text, (*plain)(t)); err != nil {
		return err
	}
	if t.ID == "" {
		return fmt.Errorf("a tunnel without tunnel_id")
	}
	t.Raw = bytes.Clone(text)
	return nil
}

// Patch is what a tunnel is to be, as a merge patch (RFC 7396): what is not in
// it stays as it is, nil removes.
type Patch map[string]any

// Filter says which tunnels to list.
type Filter struct {
	Search    string // part of slug, name or id; empty = all
	Status    string // active, expired or revoked; empty = any
	Connected string // true, false or unknown; empty = any
	Cursor    string // of List's answer before; empty = from the newest
	Limit     int    // 0 = all
}

const tunnels = "tunnels"

// CreateTunnel makes a tunnel. once makes it one tunnel, however often it is
// asked for within 24 hours.
func (c *Client) CreateTunnel(ctx context.Context, wish Patch, once string) (Tunnel, error) {
	return c.tunnel(ctx, "create tunnel", question{method: http.MethodPost, path: []string{tunnels}, body: wish, once: once})
}

// ShowTunnel gives one tunnel.
func (c *Client) ShowTunnel(ctx context.Context, id string) (Tunnel, error) {
	return c.tunnel(ctx, "show tunnel", question{method: http.MethodGet, path: []string{tunnels, id}})
}

// ChangeTunnel changes what the patch names.
func (c *Client) ChangeTunnel(ctx context.Context, id string, patch Patch) (Tunnel, error) {
	return c.tunnel(ctx, "change tunnel", question{method: http.MethodPatch, path: []string{tunnels, id}, body: patch})
}

// RotateToken gives a tunnel a new token. The old one opens it for overlap
// longer, in whole seconds.
func (c *Client) RotateToken(ctx context.Context, id string, overlap time.Duration, once string) (Tunnel, error) {
	wish := map[string]int64{"overlap_seconds": int64(overlap / time.Second)}
	return c.tunnel(ctx, "rotate token", question{method: http.MethodPost, path: []string{tunnels, id, "rotate"}, body: wish, once: once})
}

// RevokeTunnel ends a tunnel until it is restored.
func (c *Client) RevokeTunnel(ctx context.Context, id string) (Tunnel, error) {
	return c.tunnel(ctx, "revoke tunnel", question{method: http.MethodPost, path: []string{tunnels, id, "revoke"}})
}

// RestoreTunnel takes a revocation back.
func (c *Client) RestoreTunnel(ctx context.Context, id string) (Tunnel, error) {
	return c.tunnel(ctx, "restore tunnel", question{method: http.MethodPost, path: []string{tunnels, id, "restore"}})
}

// DeleteTunnel deletes a tunnel for good.
func (c *Client) DeleteTunnel(ctx context.Context, id string) error {
	tries, err := c.ask(ctx, question{method: http.MethodDelete, path: []string{tunnels, id}}, nil)
	if tries > 1 && IsMissing(err) {
		return nil // the try before did it, and its answer was lost
	}
	return about("delete tunnel", err)
}

func (c *Client) tunnel(ctx context.Context, what string, q question) (Tunnel, error) {
	var t Tunnel
	_, err := c.ask(ctx, q, &t)
	return t, about(what, err)
}

// ListTunnels gives the tunnels that fit, newest first, however many pages they
// are on. next is empty at the end, else the cursor of what Limit left out.
func (c *Client) ListTunnels(ctx context.Context, f Filter) (list []Tunnel, next string, err error) {
	query := url.Values{}
	for name, value := range map[string]string{"search": f.Search, "status": f.Status, "connected": f.Connected} {
		if value != "" {
			query.Set(name, value)
		}
	}
	list = []Tunnel{}
	for next = f.Cursor; ; {
		size := MaxPage
		if f.Limit > 0 {
			size = min(size, f.Limit-len(list))
		}
		query.Set("limit", strconv.Itoa(size))
		if next != "" {
			query.Set("cursor", next)
		}
		var page struct {
			Tunnels []Tunnel `json:"tunnels"`
			Next    *string  `json:"next"`
		}
		if _, err := c.ask(ctx, question{method: http.MethodGet, path: []string{tunnels}, query: query}, &page); err != nil {
			return nil, "", about("list tunnels", err)
		}
		if page.Tunnels == nil {
			return nil, "", about("list tunnels", &ForeignError{Status: http.StatusOK, Reason: "the answer lists no tunnels"})
		}
		list = append(list, page.Tunnels...)
		// A page may be short, or empty, with more behind it: only next tells.
		if page.Next == nil || *page.Next == "" {
			return list, "", nil
		}
		if *page.Next == next {
			return nil, "", about("list tunnels", &ForeignError{Status: http.StatusOK, Reason: "its pages go in a circle"})
		}
		next = *page.Next
		if f.Limit > 0 && len(list) >= f.Limit {
			return list, next, nil
		}
	}
}

func about(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", what, err)
}
