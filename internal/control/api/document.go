package api

import (
	"net/http"
	"reflect"
	"strings"
	"sync"

	"github.com/danielgtaylor/huma/v2"
)

// document is what the OpenAPI document says besides the calls.
func (a *API) document() huma.Config {
	return huma.Config{
		OpenAPI: &huma.OpenAPI{
			OpenAPI: "3.1.0",
			Info: &huma.Info{
				Title: "Bindu Edge control plane", Version: "1",
				Description: "Tunnels, their tokens and limits, API keys and the audit log; and what edges ask. Errors are problem+json (RFC 9457). Times are RFC 3339, in UTC.",
				License:     &huma.License{Name: "Apache-2.0", Identifier: "Apache-2.0"},
			},
			Components: &huma.Components{
				Schemas:         huma.NewMapRegistry("#/components/schemas/", schemaName),
				SecuritySchemes: map[string]*huma.SecurityScheme{"key": {Type: "http", Scheme: "bearer", Description: "An API key, bek_…"}},
			},
		},
		Formats:                      huma.DefaultFormats,
		DefaultFormat:                "application/json",
		RejectUnknownQueryParameters: true,
		Transformers:                 []huma.Transformer{transform},
	}
}

// schemaNames are what clients generated from the document call the types.
var schemaNames = map[string]string{
	"TunnelShown": "Tunnel", "TunnelMade": "TunnelWithToken", "LimitsShown": "Limits", "AuthShown": "Auth",
	"CredentialShown": "Credential", "CidrsShown": "CIDRs", "LinkShown": "Link", "KeyShown": "Key", "KeyMade": "KeyWithSecret",
	"EntryShown": "AuditEntry", "PodShown": "Pod", "MinuteShown": "Minute", "MomentShown": "Moment",
	"TrafficShown": "Traffic", "HistoryShown": "History", "ErrorModel": "Problem", "CreateKeyInputBody": "KeyWish",
}

func schemaName(t reflect.Type, hint string) string {
	name := huma.DefaultSchemaNamer(t, hint)
	if better, ok := schemaNames[name]; ok {
		return better
	}
	return name
}

// edgesDocument adds what huma does not serve: the three calls.
func (a *API) edgesDocument() {
	doc := a.huma.OpenAPI()
	// huma documents its own error type where ours is what it sends.
	*doc.Components.Schemas.Map()["Problem"] = *huma.SchemaFromType(doc.Components.Schemas, reflect.TypeFor[problem]())

	text := func(s string) *huma.Schema { return &huma.Schema{Type: huma.TypeString, Description: s} }
	status := &huma.Schema{Type: huma.TypeString, Enum: []any{"active", "expired", "revoked"}}
	end := &huma.Schema{Type: huma.TypeString, Format: "date-time"}
	object := func(properties map[string]*huma.Schema, required ...string) *huma.Schema {
		return &huma.Schema{Type: huma.TypeObject, Properties: properties, Required: required}
	}
	content := func(s *huma.Schema) map[string]*huma.MediaType {
		return map[string]*huma.MediaType{"application/json": {Schema: s}}
	}
	answers := func(s *huma.Schema) map[string]*huma.Response {
		return map[string]*huma.Response{"200": {Description: "OK", Content: content(s)}, "default": a.problemResponse()}
	}
	security := []map[string][]string{{}, {"key": {}}} // the key only with REQUIRE_EDGE_KEY
	doc.AddOperation(&huma.Operation{
		OperationID: "resolve", Method: "GET", Path: "/api/tunnels/resolve/{slug}", Tags: []string{"edges"}, Security: security,
		Summary:    "Which tunnel a slug leads to",
		Parameters: []*huma.Param{{Name: "slug", In: "path", Required: true, Schema: &huma.Schema{Type: huma.TypeString}}},
		Responses: answers(object(map[string]*huma.Schema{
			"tunnel_id": {Type: huma.TypeString}, "expires_at": end, "status": status,
		}, "tunnel_id", "expires_at", "status")),
	})
	hashes := &huma.Schema{Type: huma.TypeArray, Items: object(map[string]*huma.Schema{
		"user": text("Of basic."), "hash": text("$pbkdf2-sha256$i=ROUNDS$SALT$SUM, in base64 without padding."),
	}, "hash")}
	networks := &huma.Schema{Type: huma.TypeArray, Items: &huma.Schema{Type: huma.TypeString}}
	doc.AddOperation(&huma.Operation{
		OperationID: "validate", Method: "POST", Path: "/api/tunnels/validate", Tags: []string{"edges"}, Security: security,
		Summary: "Whether a token opens a tunnel", Description: "401: it does not. limits, auth and cidrs are there only when they were set.",
		RequestBody: &huma.RequestBody{Required: true, Content: content(object(map[string]*huma.Schema{
			"tunnel_id": {Type: huma.TypeString}, "token": {Type: huma.TypeString},
		}, "tunnel_id", "token"))},
		Responses: answers(object(map[string]*huma.Schema{
			"valid": {Type: huma.TypeBoolean}, "tunnel_id": {Type: huma.TypeString}, "status": status, "expires_at": end, "slug": {Type: huma.TypeString},
			"limits": {Ref: "#/components/schemas/Limits"},
			"auth": object(map[string]*huma.Schema{
				"kind": {Type: huma.TypeString, Enum: []any{"basic", "bearer"}}, "credentials": hashes, "pass_on": {Type: huma.TypeBoolean},
			}, "kind", "credentials"),
			"cidrs": object(map[string]*huma.Schema{"allow": networks, "deny": networks}),
		}, "valid", "tunnel_id", "status", "expires_at")),
	})
	doc.AddOperation(&huma.Operation{
		OperationID: "health", Method: "GET", Path: "/health", Tags: []string{"edges"},
		Summary:   "Whether the control plane and its database answer",
		Responses: answers(object(map[string]*huma.Schema{"status": {Type: huma.TypeString, Enum: []any{"ok"}}}, "status")),
	})
}

// serveDocument serves what the document says now, after which it must not
// change any more.
func (a *API) serveDocument() {
	doc := a.huma.OpenAPI()
	for name, s := range doc.Components.Schemas.Map() {
		if !strings.HasSuffix(name, "Wish") {
			s.AdditionalProperties = nil // answers may grow
		}
	}
	for path, one := range map[string]struct {
		kind string
		make func() ([]byte, error)
	}{
		"/openapi.yaml": {"application/openapi+yaml", doc.YAML},
		"/openapi.json": {"application/openapi+json", doc.MarshalJSON},
	} {
		text := sync.OnceValues(one.make)
		a.mux.HandleFunc("GET "+path, func(w http.ResponseWriter, r *http.Request) {
			body, err := text()
			if err != nil {
				a.fail(w, r, err)
				return
			}
			w.Header().Set("Content-Type", one.kind)
			_, _ = w.Write(body) // a caller that is gone is nobody's error
		})
	}
}

// problemResponse is the answer of every call that fails.
func (a *API) problemResponse() *huma.Response {
	return &huma.Response{Description: "Error", Content: map[string]*huma.MediaType{
		"application/problem+json": {Schema: &huma.Schema{Ref: "#/components/schemas/Problem"}},
	}}
}
