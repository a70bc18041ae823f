package controlclient

import (
	"encoding/json"
	"fmt"
	"math"
	"net/netip"
	"strings"
	"unicode"

	"github.com/getbindu/bindu-edge/internal/credential"
	"github.com/getbindu/bindu-edge/internal/tunnel"
)

// Bounds of what a control plane may say of a tunnel.
const (
	maxRate        = 1_000_000 // of rps, burst and inflight
	maxCredentials = 64
	maxUser        = 256 // bytes
	maxNetworks    = 1024
	maxMethods     = 32
)

// terms reads the optional fields of a pass. A field that is there and can't be
// read is no pass: it may have been there to keep somebody out.
func (o object) terms(g *tunnel.Grant) (err error) {
	if g.Limits, err = o.limits(); err != nil {
		return err
	}
	if g.Auth, err = o.auth(); err != nil {
		return err
	}
	g.CIDRs, err = o.cidrs()
	return err
}

// limits ignores names that it does not know: they are limits of a later day.
func (o object) limits() (l tunnel.Limits, err error) {
	o, err = o.object("limits")
	if err != nil {
		return l, err
	}
	if l.RPS, err = number[float64](o, "rps", maxRate); err != nil {
		return l, err
	}
	if l.Burst, err = number[int](o, "burst", maxRate); err != nil {
		return l, err
	}
	if l.InFlight, err = number[int](o, "inflight", maxRate); err != nil {
		return l, err
	}
	if l.Body, err = number[int64](o, "body_bytes", math.MaxInt64/2); err != nil {
		return l, err
	}
	if l.CallerRPS, err = number[float64](o, "caller_rps", maxRate); err != nil {
		return l, err
	}
	if l.Response, err = number[int64](o, "response_bytes", math.MaxInt64/2); err != nil {
		return l, err
	}
	l.Methods, err = o.methods()
	return l, err
}

// methods reads an optional list of methods, which has at least one.
func (o object) methods() ([]string, error) {
	if !o.has("methods") {
		return nil, nil
	}
	list, err := field[[]string](o, "methods")
	if err != nil {
		return nil, err
	}
	if len(list) == 0 || len(list) > maxMethods {
		return nil, nonsense(fmt.Sprintf(`"methods" must be 1 to %d`, maxMethods))
	}
	for _, m := range list {
		if m == "" || strings.Trim(m, "ABCDEFGHIJKLMNOPQRSTUVWXYZ-") != "" {
			return nil, nonsense(`"methods" has an entry that is no method`)
		}
	}
	return list, nil
}

func (o object) auth() (tunnel.Auth, error) {
	o, err := o.object("auth", "kind", "credentials", "pass_on")
	if err != nil || len(o) == 0 {
		return tunnel.Auth{}, err
	}
	var a tunnel.Auth
	if o.has("kind") {
		if a.Kind, err = field[tunnel.AuthKind](o, "kind"); err != nil {
			return tunnel.Auth{}, err
		}
	}
	var list []json.RawMessage
	if o.has("credentials") {
		if list, err = field[[]json.RawMessage](o, "credentials"); err != nil {
			return tunnel.Auth{}, err
		}
	}
	if o.has("pass_on") {
		if a.PassOn, err = field[bool](o, "pass_on"); err != nil {
			return tunnel.Auth{}, err
		}
	}
	switch a.Kind {
	case tunnel.AuthBasic, tunnel.AuthBearer:
		if len(list) == 0 || len(list) > maxCredentials {
			return tunnel.Auth{}, nonsense(fmt.Sprintf(`"credentials" must be 1 to %d`, maxCredentials))
		}
	case tunnel.AuthNone, "none":
		if len(list) > 0 {
			return tunnel.Auth{}, nonsense(`"credentials" without a "kind"`)
		}
		return tunnel.Auth{}, nil
	default:
		return tunnel.Auth{}, nonsense(`"kind" is none we know`)
	}
	for _, text := range list {
		c, err := readCredential(text, a.Kind)
		if err != nil {
			return tunnel.Auth{}, err
		}
		a.Credentials = append(a.Credentials, c)
	}
	return a, nil
}

func readCredential(text []byte, kind tunnel.AuthKind) (c tunnel.Credential, err error) {
	o, err := readObject(text)
	if err != nil {
		return c, err
	}
	if err := o.only("user", "hash"); err != nil {
		return c, err
	}
	if o.has("user") {
		if c.User, err = field[string](o, "user"); err != nil {
			return c, err
		}
	}
	if c.Hash, err = field[string](o, "hash"); err != nil {
		return c, err
	}
	_, hashErr := credential.Parse(c.Hash)
	switch {
	case hashErr != nil:
		return c, nonsense(`"hash" is none of ours`)
	case len(c.User) > maxUser || !printable(c.User) || strings.Contains(c.User, ":"): // RFC 7617, section 2
		return c, nonsense(`"user" is none`)
	case (kind == tunnel.AuthBasic) != (c.User != ""):
		return c, nonsense(`"user" belongs to "basic" alone`)
	}
	return c, nil
}

func (o object) cidrs() (c tunnel.CIDRs, err error) {
	o, err = o.object("cidrs", "allow", "deny")
	if err != nil {
		return c, err
	}
	if c.Allow, err = o.networks("allow"); err != nil {
		return c, err
	}
	c.Deny, err = o.networks("deny")
	return c, err
}

func (o object) networks(name string) ([]netip.Prefix, error) {
	if !o.has(name) {
		return nil, nil
	}
	list, err := field[[]*string](o, name)
	if err != nil {
		return nil, err
	}
	if len(list) > maxNetworks {
		return nil, nonsense(fmt.Sprintf("%q has over %d networks", name, maxNetworks))
	}
	var nets []netip.Prefix
	for _, text := range list {
		if text == nil {
			return nil, nonsense(fmt.Sprintf("%q has an entry that is no network", name))
		}
		n, err := netip.ParsePrefix(*text)
		if err != nil || n != n.Masked() || n.Addr().Is4In6() {
			return nil, nonsense(fmt.Sprintf("%q has an entry that is no network", name))
		}
		nets = append(nets, n)
	}
	return nets, nil
}

// object reads an optional field that is an object; nil when it is not there.
// With names given, it may have no others.
func (o object) object(name string, names ...string) (object, error) {
	if !o.has(name) {
		return nil, nil
	}
	inner, err := readObject(o[name])
	if err != nil {
		return nil, fmt.Errorf("%q: %w", name, err)
	}
	if len(names) > 0 {
		err = inner.only(names...)
	}
	return inner, err
}

// only refuses other names: what they say may be why somebody must stay out.
func (o object) only(names ...string) error {
	known := 0
	for _, name := range names {
		if _, ok := o[name]; ok {
			known++
		}
	}
	if known < len(o) {
		return nonsense("it has a field that we don't know where each may matter")
	}
	return nil
}

// number reads an optional number from 0 to most.
func number[T int | int64 | float64](o object, name string, most T) (*T, error) {
	if !o.has(name) {
		return nil, nil
	}
	v, err := field[T](o, name)
	if err != nil {
		return nil, err
	}
	if v < 0 || v > most {
		return nil, nonsense(fmt.Sprintf("%q is out of range", name))
	}
	return &v, nil
}

func printable(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}
