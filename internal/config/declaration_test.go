package config

import (
	"flag"
	"reflect"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write docs/configuration.md instead of comparing")

// env makes an environment of a map.
func env(vars map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		v, ok := vars[name]
		return v, ok
	}
}

// load reads settings as `serve` does, errors explained.
func load(vars map[string]string, args ...string) (*Edge, *Loader, error) {
	var e Edge
	l := NewLoader(LoaderOptions{LookupEnv: env(vars)})
	k, err := kong.New(&e, l)
	if err != nil {
		return nil, nil, err
	}
	if _, err := k.Parse(args); err != nil {
		return nil, nil, l.Explain(err)
	}
	return &e, l, e.Finish(l)
}

func flags(t *testing.T) []*kong.Flag { return flagsOf(t, &Edge{}) }

func flagsOf(t *testing.T, grammar any) []*kong.Flag {
	t.Helper()
	k, err := kong.New(grammar, NewLoader(LoaderOptions{LookupEnv: env(nil)}))
	if err != nil {
		t.Fatal(err)
	}
	var out []*kong.Flag
	for _, f := range k.Model.Flags {
		if f.Name != "help" {
			out = append(out, f)
		}
	}
	return out
}

// The declaration must not contradict itself: names agree, kinds exist, ranges
// hold their defaults, and every secret can stand in a file.
func TestDeclaration(t *testing.T) {
	for name, grammar := range map[string]any{"edge": &Edge{}, "control plane": &Control{}} {
		t.Run(name, func(t *testing.T) { declaration(t, flagsOf(t, grammar)) })
	}
}

func declaration(t *testing.T, flags []*kong.Flag) {
	bySetting := map[string]*kong.Flag{}
	for _, f := range flags {
		if bySetting[settingOf(f)] != nil {
			t.Errorf("%s is declared twice", settingOf(f))
		}
		bySetting[settingOf(f)] = f
	}
	for setting, f := range bySetting {
		if want := flagName(setting); f.Name != want && setting != "CONFIG_FILE" {
			t.Errorf("%s has the flag --%s, want --%s", setting, f.Name, want)
		}
		if kinds[f.Tag.Type].parse == nil {
			t.Errorf("%s has no kind: %q", setting, f.Tag.Type)
		}
		if f.Group == nil || f.Help == "" || !strings.HasSuffix(f.Help, ".") {
			t.Errorf("%s needs a group and a sentence of help, has %q", setting, f.Help)
		}
		if f.Tag.Get("min") != "" {
			if least, most := bound(f.Tag, "min"), bound(f.Tag, "max"); least > most || most > 1<<53 {
				t.Errorf("%s: %v to %v is no range", setting, least, most)
			}
			if (f.Tag.Get("min") == "0") != (f.Tag.Get("zero") != "") && setting != "REDIS_DB" {
				t.Errorf("%s: a range from 0 must say what 0 means, and only that", setting)
			}
		}
		if (f.Target.Type() == reflect.TypeFor[Secret]()) != (f.Tag.Type == "secret") {
			t.Errorf("%s: the type Secret and the kind secret go together", setting)
		}
		if f.Tag.Type == "secret" {
			if file := bySetting[setting+"_FILE"]; file == nil || file.Tag.Get("secret") != setting {
				t.Errorf("%s can't be given as %s_FILE", setting, setting)
			}
		}
	}
}

// What the original service and the contract promise.
func TestDefaults(t *testing.T) {
	want := map[string]string{
		"HOST": "0.0.0.0", "PORT": "8080", "LOG_LEVEL": "INFO", "REDIS_HOST": "localhost", "REDIS_PORT": "6379", "REDIS_DB": "0",
		"CONTROL_PLANE_URL": "http://localhost:8000", "MAX_WS_PAYLOAD_BYTES": "65536", "REQUEST_TIMEOUT_SECONDS": "30",
		"WS_PING_INTERVAL_SECONDS": "10", "WS_PONG_TIMEOUT_SECONDS": "5", "TUNNEL_REGISTRY_TTL": "300", "SLUG_CACHE_TTL": "60",
		"REGISTRY": "redis", "PEER_ADDR": ":7070", "ADMIN_ADDR": "127.0.0.1:9090", "MAX_REQUEST_BODY_BYTES": "10485760",
		"MAX_INFLIGHT_PER_TUNNEL": "1024", "ALLOWED_METHODS": "GET,HEAD,POST,PUT,PATCH,DELETE,OPTIONS", "TUNNEL_REVALIDATE_SECONDS": "60",
		"POD_LEASE_SECONDS": "15", "MAX_INFLATED_BYTES": "10485760", "STREAM_IDLE_TIMEOUT_SECONDS": "300", "STREAM_MAX_SECONDS": "0",
		"UPGRADE_IDLE_SECONDS": "0", "CALLER_STALL_SECONDS": "30", "SSE_KEEPALIVE_SECONDS": "15", "RECONNECT_GRACE_SECONDS": "5",
		"REDIRECT_HTTP_PORT": "0", "PROXY_PROTOCOL": "false", "CONNECT_RATE_PER_ADDRESS": "0", "ALLOW_CIDRS": "", "DENY_CIDRS": "",
		"DRAIN_DELAY_SECONDS": "3", "DRAIN_TIMEOUT_SECONDS": "30", "LINK_PING_TIMEOUT_SECONDS": "15", "EPHEMERAL_TUNNELS": "false",
		"MAX_EPHEMERAL_TUNNELS": "100", "RATE_LIMIT_RPS": "0", "RATE_LIMIT_BURST": "0", "RATE_LIMIT_CALLER_RPS": "0", "RATE_LIMIT_HEADERS": "false", "MAX_RESPONSE_BODY_BYTES": "0", "MAX_TUNNELS": "10000", "MAX_BUFFERED_BYTES_PER_TUNNEL": "268435456", "MAX_CONNECTIONS": "20000",
		"SLOW_REQUEST_SECONDS": "10", "ACCESS_LOG_SAMPLE": "1", "SERVER_TIMING": "false",
		"RELAY": "direct", "REDIS_TLS": "false", "LOG_FORMAT": "auto",
		"PUBLIC_URL": "", "BASE_DOMAIN": "", "TRUSTED_PROXIES": "", "REDIS_USERNAME": "", "REDIS_PASSWORD": "", "REDIS_SENTINEL_MASTER": "", "CONTROL_PLANE_TOKEN": "",
		"PEER_ADVERTISE": "", "PEER_SECRET": "", "NATS_URL": "",
	}
	var e Edge
	l := NewLoader(LoaderOptions{LookupEnv: env(nil)})
	k, err := kong.New(&e, l)
	if err != nil {
		t.Fatal(err)
	}
	ctx, err := k.Parse(nil)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, s := range l.Settings(ctx) {
		if _, file := strings.CutSuffix(s.Name, "_FILE"); !file {
			got[s.Name] = s.Value
		}
		if s.Origin != "default" {
			t.Errorf("%s comes from %q", s.Name, s.Origin)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("defaults (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(e, Default()); diff != "" {
		t.Errorf("Default differs from an empty parse:\n%s", diff)
	}
	if got := e.Public().String(); got != "http://localhost:8080" {
		t.Errorf("Public() = %s", got)
	}
}
