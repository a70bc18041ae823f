package config

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A wrong value names the setting and says what would be right, in one line.
func TestRefusedValues(t *testing.T) {
	const (
		methods = "use names such as GET, comma separated"
		address = "use host:port, such as 127.0.0.1:9090 or :9090, or none"
		web     = "use one like https://host or http://host:port/path"
		cidrs   = "use such as 10.0.0.0/8,192.0.2.7"
		domain  = "use a host name such as tunnels.example.com"
	)
	tests := []struct{ setting, input, want string }{
		{"PORT", "0", "0 is not a port: use 1 to 65535"},
		{"PORT", "65536", "65536 is not a port: use 1 to 65535"},
		{"PORT", "80.5", "80.5 is not a port: use 1 to 65535"},
		{"PORT", "http", "http is not a port: use 1 to 65535"},
		{"PORT", " ", `"" is not a port: use 1 to 65535`},
		{"PORT", "8\x1b[2J", `"8\x1b[2J" is not a port: use 1 to 65535`},
		{"REDIS_PORT", "tcp://10.96.0.7:6379", "tcp://10.96.0.7:6379 is what Kubernetes sets for a Service of that name: use a port from 1 to 65535, or enableServiceLinks: false in the pod"},

		{"REQUEST_TIMEOUT_SECONDS", "-1", "-1 is too small: use 0 to 86400 (0: no limit)"},
		{"REQUEST_TIMEOUT_SECONDS", "NaN", "NaN is not a number of seconds: use 0 to 86400 (0: no limit)"},
		{"REQUEST_TIMEOUT_SECONDS", "inf", "inf is not a number of seconds: use 0 to 86400 (0: no limit)"},
		{"REQUEST_TIMEOUT_SECONDS", "1e3", "1e3 is not a number of seconds: use 0 to 86400 (0: no limit)"},
		{"REQUEST_TIMEOUT_SECONDS", "0x1p4", "0x1p4 is not a number of seconds: use 0 to 86400 (0: no limit)"},
		{"REQUEST_TIMEOUT_SECONDS", "30s", "30s is not a number of seconds: use 0 to 86400 (0: no limit)"},
		{"REQUEST_TIMEOUT_SECONDS", "--1", "--1 is not a number of seconds: use 0 to 86400 (0: no limit)"},
		{"REQUEST_TIMEOUT_SECONDS", strings.Repeat("9", 400), strings.Repeat("9", 60) + "… is not a number of seconds: use 0 to 86400 (0: no limit)"},
		{"REQUEST_TIMEOUT_SECONDS", "86401", "86401 is too large: use 0 to 86400 (0: no limit)"},
		{"WS_PING_INTERVAL_SECONDS", "0", "0 is too small: use 0.1 to 3600"},
		{"MAX_WS_PAYLOAD_BYTES", "64KiB", "64KiB is not a number of bytes: use 1024 to 1073741824"},
		{"MAX_WS_PAYLOAD_BYTES", "2048.5", "2048.5 is not a whole number of bytes: use 1024 to 1073741824"},
		{"MAX_WS_PAYLOAD_BYTES", "99999999999999999999", "99999999999999999999 is too large: use 1024 to 1073741824"},
		{"MAX_TUNNELS", "1_000", "1_000 is not a number: use 0 to 10000000 (0: no limit)"},
		{"MAX_TUNNELS", "-5", "-5 is too small: use 0 to 10000000 (0: no limit)"},
		{"RATE_LIMIT_RPS", "many", "many is not a number: use 0 to 1000000 (0: no limit)"},

		{"EPHEMERAL_TUNNELS", "maybe", "maybe is neither true nor false: use one of these"},
		{"LOG_LEVEL", "LOUD", "LOUD is not a level: use DEBUG, INFO, WARNING, ERROR or CRITICAL"},
		{"LOG_FORMAT", "xml", "xml is not known: use auto, json or text"},
		{"REGISTRY", "etcd", "etcd is not known: use redis or memory"},

		{"HOST", "localhost:80", "localhost:80 is not a host: use an IP address or a host name, without a port"},
		{"HOST", "http://x", "http://x is not a host: use an IP address or a host name, without a port"},
		{"HOST", "300.1.1.1", "300.1.1.1 is not a host: use an IP address or a host name, without a port"},
		{"HOST", "[x]", "[x] is not a host: use an IP address or a host name, without a port"},
		{"HOST", "-x", "-x is not a host: use an IP address or a host name, without a port"},
		{"ADMIN_ADDR", "9090", "9090 is not an address to listen at: " + address},
		{"ADMIN_ADDR", "127.0.0.1:70000", "127.0.0.1:70000 is not an address to listen at: " + address},
		{"ADMIN_ADDR", "a b:1", `"a b:1" is not an address to listen at: ` + address},
		{"PEER_ADDR", "none", "none is not an address to listen at: use host:port, such as 127.0.0.1:9090 or :9090"},
		{"PEER_ADVERTISE", ":7070", ":7070 is not an address to dial: use host or host:port"},
		{"PEER_ADVERTISE", "h:0", "h:0 is not an address to dial: use host or host:port"},

		{"PUBLIC_URL", "edge.example.com", "edge.example.com is not an http or https URL: " + web},
		{"PUBLIC_URL", "ftp://x", "ftp://x is not an http or https URL: " + web},
		{"PUBLIC_URL", "http:x", "http:x is not an http or https URL: " + web},
		{"PUBLIC_URL", "https://", "https:// is not an http or https URL: " + web},
		{"PUBLIC_URL", "none", "none is not an http or https URL: " + web},
		{"PUBLIC_URL", "https://x/?a=1", "https://x/?a=1 has a query or a fragment: " + web},
		{"PUBLIC_URL", "https://x/?", "https://x/? has a query or a fragment: " + web},
		{"PUBLIC_URL", "https://x/#", "https://x/# has a query or a fragment: " + web},
		{"PUBLIC_URL", "https://x:0", "https://x:0 has no usable port: use 1 to 65535"},
		{"PUBLIC_URL", "https://x:", "https://x: has no usable port: use 1 to 65535"},
		{"CONTROL_PLANE_URL", "http://u:hunter2@x", "a user or password in the URL is not used: " + web + ", or none"},
		{"CONTROL_PLANE_URL", "http://u:hunter2@x:port", "this is not an http or https URL: " + web + ", or none"},

		{"BASE_DOMAIN", "https://x.example", "https://x.example is not a host name: " + domain + ", without a scheme or a path"},
		{"BASE_DOMAIN", "x.example:8080", "x.example:8080 has a port: use x.example"},
		{"BASE_DOMAIN", "*.x.example", "*.x.example: leave out the *: use x.example"},
		{"BASE_DOMAIN", "10.0.0.1", "10.0.0.1 is not a host name: " + domain},
		{"BASE_DOMAIN", "::1", "::1 is not a host name: " + domain},
		{"BASE_DOMAIN", "x..example", "x..example is not a host name: " + domain},
		{"BASE_DOMAIN", "t.bindu.internal", "t.bindu.internal is reserved for links: " + domain},
		{"TRUSTED_PROXIES", "10.0.0.0/33", "10.0.0.0/33 is neither an address nor a CIDR: " + cidrs},
		{"TRUSTED_PROXIES", "10.0.0.1, proxy", "proxy is neither an address nor a CIDR: " + cidrs},
		{"TRUSTED_PROXIES", "fe80::1%eth0", "fe80::1%eth0 is neither an address nor a CIDR: " + cidrs},
		{"TRUSTED_PROXIES", "::ffff:0.0.0.0/90", "::ffff:0.0.0.0/90 mixes IPv4 and IPv6: use an IPv4 CIDR such as 10.0.0.0/8"},
		{"ALLOWED_METHODS", "GET POST", `"GET POST" is not an HTTP method: ` + methods},
		{"ALLOWED_METHODS", ",", ", names no method: " + methods},
		{"ALLOWED_METHODS", "GET,CONNECT", "CONNECT can't be allowed: an edge is no proxy for other hosts"},

		{"PEER_SECRET", "hunter2", "has 7 bytes: use at least 32, such as the output of openssl rand -hex 32"},
		{"REDIS_PASSWORD", "hunter2\nhunter3", "holds control characters: it must be one line of text"},
		{"REDIS_USERNAME", "a b", `"a b" is not a word: use text without spaces`},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprintf("%s %.20q", tt.setting, tt.input), func(t *testing.T) {
			_, _, err := load(map[string]string{tt.setting: tt.input})
			if want := tt.setting + ": " + tt.want; err == nil || err.Error() != want {
				t.Errorf("got  %v\nwant %s", err, want)
			}
			if err != nil && (strings.Contains(err.Error(), "hunter") || strings.ContainsAny(err.Error(), "\n\x1b")) {
				t.Errorf("shows a secret or a control character: %q", err)
			}
		})
	}
}

func TestPrefixes(t *testing.T) {
	tests := []struct {
		name  string
		input string
		want  []string
	}{
		{"cidr", "10.0.0.0/8", []string{"10.0.0.0/8"}},
		{"single", "192.0.2.7", []string{"192.0.2.7/32"}},
		{"single v6", "2001:db8::1", []string{"2001:db8::1/128"}},
		{"host bits are dropped", "10.1.2.3/8", []string{"10.0.0.0/8"}},
		{"IPv4 in IPv6", "::ffff:10.0.0.0/104, ::ffff:192.0.2.7", []string{"10.0.0.0/8", "192.0.2.7/32"}},
		{"spaces and empty items", " 10.0.0.0/8 ,, ::/0 ", []string{"10.0.0.0/8", "::/0"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			v, err := parsePrefixes(tt.input, nil)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, p := range v.([]netip.Prefix) {
				got = append(got, p.String())
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestLevels(t *testing.T) {
	tests := []struct{ input, want string }{
		{"debug", "DEBUG"}, {"Info", "INFO"}, {"warn", "WARNING"}, {"WARNING", "WARNING"}, {"error", "ERROR"}, {"critical", "CRITICAL"},
	}
	for _, tt := range tests {
		e, _, err := load(map[string]string{"LOG_LEVEL": tt.input})
		if err != nil {
			t.Fatal(err)
		}
		if got := levelName(e.LogLevel); got != tt.want {
			t.Errorf("%s is read as %s, want %s", tt.input, got, tt.want)
		}
	}
}
