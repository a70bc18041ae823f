package controlclient_test

import (
	"encoding/json"
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/getbindu/bindu-edge/internal/controlclient"
	"github.com/getbindu/bindu-edge/internal/credential"
	"github.com/getbindu/bindu-edge/internal/tunnel"
)

// What an optional field of a pass says, or that it is no pass.
func TestTerms(t *testing.T) {
	made, err := credential.New("a caller's password")
	if err != nil {
		t.Fatal(err)
	}
	hash := made.String()
	basic := `{"kind":"basic","credentials":[{"user":"u","hash":"` + hash + `"}]}`
	two := `{"kind":"bearer","credentials":[{"hash":"` + hash + `"},{"hash":"` + hash + `"}]}`
	nonsense := tunnel.Grant{}
	limits := func(l tunnel.Limits) tunnel.Grant { return tunnel.Grant{Limits: l} }
	for _, row := range []struct {
		field, input string
		want         tunnel.Grant // but for what every pass has; nonsense: no pass
		ok           bool
	}{
		{"limits", `null`, tunnel.Grant{}, true},
		{"limits", `{}`, tunnel.Grant{}, true},
		{"limits", `{"rps":2.5,"burst":3,"inflight":4,"body_bytes":5}`, limits(tunnel.Limits{RPS: new(2.5), Burst: new(3), InFlight: new(4), Body: new(int64(5))}), true},
		{"limits", `{"rps":0,"burst":null,"of a later day":true}`, limits(tunnel.Limits{RPS: new(0.0)}), true},
		{"limits", `{"caller_rps":0.5,"response_bytes":6,"methods":["GET","M-SEARCH"]}`, limits(tunnel.Limits{CallerRPS: new(0.5), Response: new(int64(6)), Methods: []string{"GET", "M-SEARCH"}}), true},
		{"limits", `{"caller_rps":-1}`, nonsense, false},
		{"limits", `{"response_bytes":1.5}`, nonsense, false},
		{"limits", `{"methods":[]}`, nonsense, false},
		{"limits", `{"methods":"GET"}`, nonsense, false},
		{"limits", `{"methods":["get"]}`, nonsense, false},
		{"limits", `{"methods":[""]}`, nonsense, false},
		{"limits", `[]`, nonsense, false},
		{"limits", `5`, nonsense, false},
		{"limits", `{"rps":"5"}`, nonsense, false},
		{"limits", `{"rps":-1}`, nonsense, false},
		{"limits", `{"rps":1e7}`, nonsense, false},
		{"limits", `{"rps":1e999}`, nonsense, false},
		{"limits", `{"rps":1,"rps":2}`, nonsense, false},
		{"limits", `{"burst":1.5}`, nonsense, false},
		{"limits", `{"inflight":-1}`, nonsense, false},
		{"limits", `{"inflight":99999999999999999999}`, nonsense, false},
		{"limits", `{"body_bytes":9223372036854775807}`, nonsense, false},

		{"auth", `null`, tunnel.Grant{}, true},
		{"auth", `{}`, tunnel.Grant{}, true},
		{"auth", `{"kind":"none"}`, tunnel.Grant{}, true},
		{"auth", basic, tunnel.Grant{Auth: tunnel.Auth{Kind: "basic", Credentials: []tunnel.Credential{{User: "u", Hash: hash}}}}, true},
		{"auth", two, tunnel.Grant{Auth: tunnel.Auth{Kind: "bearer", Credentials: []tunnel.Credential{{Hash: hash}, {Hash: hash}}}}, true},
		{"auth", strings.Replace(basic, `{`, `{"pass_on":true,`, 1), tunnel.Grant{Auth: tunnel.Auth{Kind: "basic", Credentials: []tunnel.Credential{{User: "u", Hash: hash}}, PassOn: true}}, true},
		{"auth", strings.Replace(basic, `{`, `{"pass_on":"yes",`, 1), nonsense, false},
		{"auth", `"basic"`, nonsense, false},
		{"auth", `{"kind":"basic"}`, nonsense, false},
		{"auth", `{"kind":"basic","credentials":[]}`, nonsense, false},
		{"auth", `{"kind":"mtls","credentials":[{"hash":"` + hash + `"}]}`, nonsense, false},
		{"auth", `{"kind":1}`, nonsense, false},
		{"auth", `{"credentials":[{"hash":"` + hash + `"}]}`, nonsense, false},
		{"auth", `{"kind":"none","and":"more"}`, nonsense, false},
		{"auth", strings.Replace(basic, `"user":"u",`, ``, 1), nonsense, false},
		{"auth", strings.Replace(basic, `"u"`, `"u:v"`, 1), nonsense, false},
		{"auth", strings.Replace(basic, `"u"`, `"\u0007"`, 1), nonsense, false},
		{"auth", strings.Replace(basic, `"u"`, `"u","only_on":"Mondays"`, 1), nonsense, false},
		{"auth", strings.Replace(basic, `basic`, `bearer`, 1), nonsense, false},
		{"auth", strings.Replace(basic, hash, ``, 1), nonsense, false},
		{"auth", strings.Replace(basic, hash, `password`, 1), nonsense, false},
		{"auth", strings.Replace(basic, `[{`, `[null,{`, 1), nonsense, false},

		{"cidrs", `null`, tunnel.Grant{}, true},
		{"cidrs", `{"allow":[],"deny":null}`, tunnel.Grant{}, true},
		{"cidrs", `{"allow":["192.0.2.0/24","2001:db8::/32"],"deny":["192.0.2.7/32"]}`, tunnel.Grant{CIDRs: tunnel.CIDRs{
			Allow: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::/32")},
			Deny:  []netip.Prefix{netip.MustParsePrefix("192.0.2.7/32")},
		}}, true},
		{"cidrs", `[]`, nonsense, false},
		{"cidrs", `{"allow":"192.0.2.0/24"}`, nonsense, false},
		{"cidrs", `{"allow":["192.0.2.0"]}`, nonsense, false},
		{"cidrs", `{"allow":["192.0.2.1/24"]}`, nonsense, false},
		{"cidrs", `{"allow":["::ffff:192.0.2.0/120"]}`, nonsense, false},
		{"cidrs", `{"deny":["fe80::%eth0/64"]}`, nonsense, false},
		{"cidrs", `{"deny":[null]}`, nonsense, false},
		{"cidrs", `{"deny":[1]}`, nonsense, false},
		{"cidrs", `{"countries":["XX"]}`, nonsense, false},
		{"cidrs", `{"allow":["192.0.2.0/24"` + strings.Repeat(`,"192.0.2.0/24"`, 1024) + `]}`, nonsense, false},
	} {
		t.Run(row.field+" "+row.input[:min(len(row.input), 60)], func(t *testing.T) {
			got, err := answering(t, with(fields{row.field: json.RawMessage(row.input)})).Validate(t.Context(), "t", secret)
			if !row.ok {
				if !errors.Is(err, controlclient.ErrNonsense) || strings.Contains(err.Error(), hash) {
					t.Errorf("Validate = %+v, %v", got, err)
				}
				return
			}
			row.want.Tunnel, row.want.ExpiresAt = "t", end
			if diff := cmp.Diff(row.want, got, cmpopts.EquateComparable(netip.Prefix{})); diff != "" || err != nil {
				t.Errorf("error %v, grant (-want +got):\n%s", err, diff)
			}
		})
	}
}

// A refusal needs no terms that can be read.
func TestTermsOfARefusal(t *testing.T) {
	_, err := answering(t, with(fields{"status": "revoked", "limits": 5})).Validate(t.Context(), "t", secret)
	wantError(t, "revoked", err, tunnel.ErrRevoked)
	_, err = answering(t, with(fields{"valid": false, "auth": 5})).Validate(t.Context(), "t", secret)
	wantError(t, "not valid", err, tunnel.ErrUnauthorized)
}
