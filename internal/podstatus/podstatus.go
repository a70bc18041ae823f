// Package podstatus is the document that a pod says of itself at GET /status of
// its admin listener: written by the edge, read by `bindu-edge status` and by
// whoever has a script. It decides nothing and holds no secret. The text in it
// may come from agents and callers; who shows it to people cleans it.
package podstatus

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Path is where the admin listener serves the document.
const Path = "/status"

// The document's bounds.
const (
	DefaultLimit = 1000    // tunnels that are listed
	MaxLimit     = 100_000 // tunnels that can be asked for
	MaxPeers     = 1000
	MaxLinkEnds  = 100
	MaxText      = 300 // bytes of an error or a detail
)

// Status is the document. Times are UTC; what is not known is left out.
type Status struct {
	Pod          Pod          `json:"pod"`
	Requests     Requests     `json:"requests"`
	Registry     Registry     `json:"registry"`
	Dependencies []Dependency `json:"dependencies"`
	Peers        Peers        `json:"peers"`
	Tunnels      Tunnels      `json:"tunnels"`
	LinkEnds     []LinkEnd    `json:"link_ends"` // the last ones, newest first
	Memory       Memory       `json:"memory"`
}

// Pod is the process.
type Pod struct {
	ID        string    `json:"id"`
	Version   string    `json:"version"`
	StartedAt time.Time `json:"started_at"`
	Uptime    float64   `json:"uptime_seconds"`
	Status    string    `json:"status"` // starting, ready, degraded or draining, as at /health/ready
	Ready     bool      `json:"ready"`  // it should get traffic
	Draining  bool      `json:"draining"`
	Why       []string  `json:"why"` // why the status is not "ready"
}

// Requests are those under way.
type Requests struct {
	InFlight int `json:"in_flight"` // that came to this pod's public listener
	AtAgents int `json:"at_agents"` // handed to agents of this pod, whichever pod they came to
}

// Registry is where the pod's claims are kept, and the lease that they stand by.
type Registry struct {
	Kind      string `json:"kind"`      // memory or redis
	Connected bool   `json:"connected"` // it answered the last question
	Claims    int    `json:"claims"`    // that this pod holds

	// Of a registry that is shared:
	RefreshedAt time.Time `json:"lease_refreshed_at,omitzero"`
	HeldUntil   time.Time `json:"lease_held_until,omitzero"`
	Age         *float64  `json:"lease_age_seconds,omitempty"` // since it was refreshed
}

// Dependency is something else that the pod needs.
type Dependency struct {
	Name    string    `json:"name"`  // registry, control_plane or relay
	State   string    `json:"state"` // ok, away, or unknown before the first look
	Since   time.Time `json:"since,omitzero"`
	LastOK  time.Time `json:"last_ok,omitzero"`
	Latency *float64  `json:"latency_ms,omitempty"` // of the last look that went well
	Error   string    `json:"last_error,omitempty"`
	ErrorAt time.Time `json:"last_error_at,omitzero"`
}

// Peers are other pods that this one has to do with now or had trouble with in
// the last ten minutes, at most MaxPeers.
type Peers struct {
	Carrier string `json:"carrier"` // direct, nats, redis, or none
	List    []Peer `json:"list"`
}

// Peer is one other pod.
type Peer struct {
	Pod       string    `json:"pod_id"`
	Address   string    `json:"address,omitempty"`
	Connected bool      `json:"connected"`      // by a connection that this pod opened, for the hops that it sends
	Since     time.Time `json:"since,omitzero"` // of that connection
	InFlight  int       `json:"in_flight"`      // hops under way to it
	Unread    int64     `json:"unread_bytes"`   // at most so many of their answers wait here for callers that don't read
	Inbound   int       `json:"inbound"`        // connections that it has opened to this pod
	Error     string    `json:"last_error,omitempty"`
	ErrorAt   time.Time `json:"last_error_at,omitzero"`
}

// Tunnels are the links of agents to this pod.
type Tunnels struct {
	Total   int      `json:"total"`
	H2      int      `json:"h2"`
	JSON    int      `json:"json"`
	Streams int      `json:"streams"`      // open on all of them
	Unread  int64    `json:"unread_bytes"` // of all of them
	Found   int      `json:"found"`        // that fit what was asked for, listed or not
	List    []Tunnel `json:"list"`
}

// Tunnel is one link. A tunnel has two for a moment while its agent moves.
type Tunnel struct {
	ID       string    `json:"tunnel_id"`
	Slug     string    `json:"slug,omitempty"`
	Protocol string    `json:"protocol"` // h2 or json
	Since    time.Time `json:"since"`
	Remote   string    `json:"remote_addr"`
	Agent    string    `json:"agent_version,omitempty"`
	InFlight int       `json:"in_flight"`    // requests
	Requests uint64    `json:"requests"`     // since the link stands
	Streams  int       `json:"streams"`      // open on the link, our own questions included
	Unread   int64     `json:"unread_bytes"` // at most so many wait for callers that don't read
}

// LinkEnd is the end of a link.
type LinkEnd struct {
	Tunnel   string    `json:"tunnel_id"`
	Protocol string    `json:"protocol"`
	Reason   string    `json:"reason"` // the words of bindu_edge_link_ends_total
	Detail   string    `json:"detail,omitempty"`
	Since    time.Time `json:"since"` // when the link began
	EndedAt  time.Time `json:"ended_at"`
	Lasted   float64   `json:"lasted_seconds"`
	Remote   string    `json:"remote_addr"`
}

// Memory is what the Go runtime says.
type Memory struct {
	Heap       uint64 `json:"heap_bytes"`            // objects, garbage that was not collected yet included
	Used       uint64 `json:"used_bytes"`            // got from the system and not given back
	Limit      int64  `json:"limit_bytes,omitempty"` // GOMEMLIMIT
	Pressure   bool   `json:"pressure"`              // new work is refused
	Goroutines int    `json:"goroutines"`
}

// Query is what can be asked of the list of tunnels.
type Query struct {
	Limit  int    // how many are listed
	Tunnel string // only this one, by id or slug; empty = all
	Sort   string // one of Sorts
}

// Sorts are the orders of the list: the newest link first, or the one with most
// requests in flight, requests, or bytes unread.
var Sorts = []string{"since", "in_flight", "requests", "unread_bytes"}

// ParseQuery reads a Query from a URL.
func ParseQuery(values url.Values) (Query, error) {
	q := Query{Limit: DefaultLimit, Sort: Sorts[0]}
	for name, list := range values {
		if len(list) != 1 {
			return q, fmt.Errorf("%s is given more than once", known(name))
		}
		value := list[0]
		switch name {
		case "limit":
			n, err := strconv.ParseUint(value, 10, 32)
			if err != nil || n > MaxLimit {
				return q, fmt.Errorf("limit is a number from 0 to %d", MaxLimit)
			}
			q.Limit = int(n)
		case "tunnel":
			q.Tunnel = value
		case "sort":
			if !slices.Contains(Sorts, value) {
				return q, fmt.Errorf("sort is one of %v", Sorts)
			}
			q.Sort = value
		default:
			return q, errors.New("known are limit, tunnel and sort")
		}
	}
	return q, nil
}

// known keeps what a caller made up out of an answer.
func known(name string) string {
	switch name {
	case "limit", "tunnel", "sort":
		return name
	}
	return "a parameter"
}

// Values is the Query as a URL has it.
func (q Query) Values() url.Values {
	v := url.Values{"limit": {strconv.Itoa(q.Limit)}}
	if q.Tunnel != "" {
		v.Set("tunnel", q.Tunnel)
	}
	if q.Sort != "" && q.Sort != Sorts[0] {
		v.Set("sort", q.Sort)
	}
	return v
}

// Text is err's text for the document: nothing without one, and never longer
// than MaxText.
func Text(err error) string {
	if err == nil {
		return ""
	}
	text := err.Error()
	if len(text) > MaxText {
		text = strings.ToValidUTF8(text[:MaxText], "")
	}
	return text
}
