package agent

import (
	"strings"
	"testing"
)

func TestParseTarget(t *testing.T) {
	tests := []struct {
		name, input, want string
	}{
		{"port", "3773", "http://localhost:3773"},
		{"host and port", "10.0.0.5:3773", "http://10.0.0.5:3773"},
		{"port with colon", ":3773", "http://localhost:3773"},
		{"IPv6", "[::1]:3773", "http://[::1]:3773"},
		{"http", "http://app.local", "http://app.local:80"},
		{"https", "https://app.local/", "https://app.local:443"},
		{"upper case scheme", "HTTPS://app.local:8443", "https://app.local:8443"},
		{"gRPC", "h2c://localhost:50051", "h2c://localhost:50051"},
		{"IPv6 without port", "https://[::1]", "https://[::1]:443"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			target, err := ParseTarget(tt.input)
			if err != nil {
				t.Fatal(err)
			}
			if target.String() != tt.want {
				t.Errorf("got %s, want %s", target, tt.want)
			}
		})
	}
}

func TestParseTargetRefuses(t *testing.T) {
	tests := []struct{ name, input, want string }{
		{"nothing", "", `"" is not understood`},
		{"zero", "0", "0 is not a port: use 1 to 65535"},
		{"large", "70000", "70000 is not a port: use 1 to 65535"},
		{"negative", "-1", "-1 is not a port: use 1 to 65535"},
		{"host alone", "localhost", `"localhost" is not understood`},
		{"bad port", "localhost:http", `is not understood`},
		{"port of a URL", "http://localhost:0", "0 is not a port: use 1 to 65535"},
		{"empty port", "http://localhost:", "has no port"},
		{"no host", "http://:80", "is not understood"},
		{"scheme", "ftp://localhost", "has the scheme ftp"},
		{"path", "http://localhost:1/api", "has more than scheme, host and port"},
		{"query", "http://localhost:1?a", "has more than scheme, host and port"},
		{"bare question mark", "http://localhost:1?", "has more than scheme, host and port"},
		{"user", "http://u:hunter2@localhost:1", "a user or password in the URL is not used"},
		{"user of host and port", "u:hunter2@localhost:1", "is not understood"},
		{"space", "http://a b", "is not understood"},
		{"odd IPv6", "http://[::g]:1", "is not understood"},
		{"control character", "http://a\x1b:1", "is not understood"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			target, err := ParseTarget(tt.input)
			if err == nil {
				t.Fatalf("taken for %s", target)
			}
			if !strings.Contains(err.Error(), tt.want) || strings.ContainsAny(err.Error(), "\x1b\n") {
				t.Errorf("got %q, want %q", err, tt.want)
			}
		})
	}
}
