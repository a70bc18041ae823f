package web

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/getbindu/bindu-edge/internal/control"
)

// limitFields are the inputs of a tunnel's limits.
func limitFields(l control.Limits, e *entry) []field {
	rate := func(n *float64) string {
		if n == nil {
			return ""
		}
		return strconv.FormatFloat(*n, 'f', -1, 64)
	}
	number := func(n *int) string {
		if n == nil {
			return ""
		}
		return strconv.Itoa(*n)
	}
	body, bodyUnit := sized(l.BodyBytes)
	answer, answerUnit := sized(l.ResponseBytes)
	const fallback = "edge's default"
	fields := []field{
		{Name: "limits.rps", Label: "Requests a second", Kind: "number", Value: rate(l.RPS), Holder: fallback},
		{Name: "limits.burst", Label: "Burst, requests", Kind: "number", Value: number(l.Burst), Holder: fallback, Hint: "0 is one second's worth."},
		{Name: "limits.caller_rps", Label: "Per address, a second", Kind: "number", Value: rate(l.CallerRPS), Holder: fallback},
		{Name: "limits.inflight", Label: "Requests in flight", Kind: "number", Value: number(l.InFlight), Holder: fallback},
		{Name: "limits.body_bytes", Label: "Size of a request", Kind: "size", Value: body, Unit: bodyUnit, Holder: fallback},
		{Name: "limits.response_bytes", Label: "Size of an answer", Kind: "size", Value: answer, Unit: answerUnit, Holder: fallback},
		{Name: "limits.methods", Label: "Methods", Kind: "text", Value: strings.Join(l.Methods, " "), Holder: "all that the edge lets in", Hint: "Such as GET HEAD POST."},
	}
	fields = e.fill(fields)
	for i := range fields {
		if fields[i].Kind == "size" {
			fields[i].Options = unitOptions(fields[i].Unit)
		}
	}
	return fields
}

func (e *entry) limits() control.Limits {
	l := control.Limits{
		RPS: e.rate("limits.rps"), Burst: e.number("limits.burst"), CallerRPS: e.rate("limits.caller_rps"),
		InFlight: e.number("limits.inflight"), BodyBytes: e.size("limits.body_bytes"), ResponseBytes: e.size("limits.response_bytes"),
	}
	for _, m := range e.list("limits.methods") {
		l.Methods = append(l.Methods, strings.ToUpper(m))
	}
	return l
}

// secretView is a credential that a tunnel has.
type secretView struct {
	ID, Text string
	Kept     bool
}

// secretID names a credential in a form without telling its hash.
func secretID(c control.Credential) string {
	sum := sha256.Sum256([]byte(c.User + "\x00" + c.Hash))
	return hex.EncodeToString(sum[:8])
}

func secretsOf(a control.Auth, e *entry) []secretView {
	var list []secretView
	for i, c := range a.Credentials {
		v := secretView{ID: secretID(c), Text: c.User, Kept: true}
		if c.User == "" {
			v.Text = fmt.Sprintf("Token %d", i+1)
		}
		if e != nil {
			v.Kept = slices.Contains(e.values["keep"], v.ID)
		}
		list = append(list, v)
	}
	return list
}

// callerFields say how callers prove who they are.
func callerFields(a control.Auth, e *entry) []field {
	kind := "none"
	if a.Kind != control.AuthNone {
		kind = string(a.Kind)
	}
	return e.fill([]field{
		{Name: "auth.type", Label: "Callers show", Kind: "select", Options: choose([]option{
			{Value: "none", Text: "nothing: everybody may call"},
			{Value: "basic", Text: "a user and a password"},
			{Value: "bearer", Text: "a token"},
		}, kind)},
		{Name: "user", Label: "New user", Kind: "text", Hint: "Without a colon.", Max: 256},
		{Name: "auth.credentials", Label: "New password or token", Kind: "secret", Hint: "8 to 256 bytes. It is kept as a hash and never shown.", Max: 256},
		{Name: "auth.pass_on", Label: "Pass the credential on to the agent", Kind: "check", Checked: a.PassOn},
	})
}

func addressFields(c control.CIDRs, e *entry) []field {
	lines := func(list []netip.Prefix) string {
		var text []string
		for _, p := range list {
			if p.IsSingleIP() {
				text = append(text, p.Addr().String())
			} else {
				text = append(text, p.String())
			}
		}
		return strings.Join(text, "\n")
	}
	return e.fill([]field{
		{Name: "cidrs.allow", Label: "Let in only", Kind: "area", Value: lines(c.Allow), Holder: "everybody", Hint: "Networks such as 192.0.2.0/24, or addresses; one a line."},
		{Name: "cidrs.deny", Label: "Turn away", Kind: "area", Value: lines(c.Deny), Holder: "nobody", Hint: "Wins over the list beside it."},
	})
}

func (e *entry) cidrs() control.CIDRs {
	return control.CIDRs{Allow: e.networks("cidrs.allow"), Deny: e.networks("cidrs.deny")}
}

// networks reads networks and addresses. What is none is the zero Prefix, which
// package control refuses by its number together with what else can't be.
func (e *entry) networks(name string) []netip.Prefix {
	var list []netip.Prefix
	for _, text := range e.list(name) {
		p, err := netip.ParsePrefix(text)
		if addr, err2 := netip.ParseAddr(text); err2 == nil && addr.Zone() == "" {
			p, err = addr.Prefix(addr.BitLen())
		}
		if err != nil {
			p = netip.Prefix{}
		}
		list = append(list, p)
	}
	return list
}

// auth gives what changes a tunnel's credentials as the form asks; nothing, if
// that can't be read. The new one is hashed here, which takes its time, and not
// while the tunnel is locked.
func (e *entry) auth() (func(*control.Auth), error) {
	kind := control.AuthKind(strings.TrimPrefix(e.values.Get("auth.type"), "none"))
	if kind == control.AuthNone {
		return func(a *control.Auth) { *a = control.Auth{} }, nil
	}
	added, err := e.newCredential(kind)
	if err != nil {
		return nil, err
	}
	if e.errors["user"] != "" || e.errors["auth.credentials"] != "" {
		return func(*control.Auth) {}, nil
	}
	return func(a *control.Auth) {
		var list []control.Credential
		for _, c := range a.Credentials {
			replaced := len(added) > 0 && added[0].User != "" && added[0].User == c.User
			if a.Kind == kind && !replaced && slices.Contains(e.values["keep"], secretID(c)) {
				list = append(list, c)
			}
		}
		*a = control.Auth{Kind: kind, Credentials: append(list, added...), PassOn: e.values.Get("auth.pass_on") != ""}
	}, nil
}

// newCredential is the one that the form adds, if it adds one.
func (e *entry) newCredential(kind control.AuthKind) ([]control.Credential, error) {
	user, secret := e.get("user"), e.values.Get("auth.credentials")
	switch {
	case kind == control.AuthBearer:
		user = "" // its field is out of sight
	case secret != "" && user == "":
		e.wrong("user", "A password needs a user.")
	case secret == "" && user != "":
		e.wrong("auth.credentials", "A new user needs a password.")
	}
	if err := e.refused(control.CheckUser(user)); err != nil {
		return nil, err
	}
	if secret == "" {
		return nil, nil
	}
	made, err := control.NewCredential(user, secret)
	return []control.Credential{made}, e.refused(err)
}
