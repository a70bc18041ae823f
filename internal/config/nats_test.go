package config

import (
	"strings"
	"testing"
)

func TestNATSServers(t *testing.T) {
	for _, row := range []struct{ name, input, want string }{
		{"one", "nats://h:4222", ""},
		{"a password", "tls://u:hunter2@h", ""},
		{"a token", "nats://hunter2@10.0.0.7:4222", ""},
		{"an IPv6 address", "nats://[::1]:4222", ""},
		{"over a WebSocket", "wss://h:443", ""},
		{"without a scheme", "h:4222", ""},
		{"several", " nats://a , nats://b:1,, c", ""},
		{"another scheme", "http://hunter2", "not the URL of a NATS server"},
		{"one of several", "nats://a,redis://hunter2", "not the URL of a NATS server"},
		{"a space", "nats://hunter2 b", "not the URL of a NATS server"},
		{"a word for a port", "nats://hunter2:port", "not the URL of a NATS server"},
		{"no host", "nats://", "without a usable host"},
		{"no host behind the password", "nats://u:hunter2@:4222", "without a usable host"},
		{"a mistyped address", "nats://hunter2@300.0.0.1", "without a usable host"},
		{"the greatest port", "nats://h:65535", ""},
		{"above it", "nats://u:hunter2@h:65536", "without a usable port"},
		{"port 0", "nats://h:0", "without a usable port"},
		{"an empty port", "nats://h:", "without a usable port"},
		{"commas", " , ", "names no server"},
	} {
		t.Run(row.name, func(t *testing.T) {
			err := natsServers(row.input)
			if row.want == "" && err != nil || row.want != "" && (err == nil || !strings.Contains(err.Error(), row.want)) {
				t.Errorf("got %v, want %q", err, row.want)
			}
			if err != nil && strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the secret is shown: %v", err)
			}
		})
	}
}

// The setting is named as it was given.
func TestWrongNATSURL(t *testing.T) {
	path := write(t, "url", "http://hunter2")
	for _, row := range []struct {
		name  string
		input map[string]string
		flag  []string
		want  string
	}{
		{"by variable", map[string]string{"RELAY": "nats", "NATS_URL": "http://hunter2"}, nil, "NATS_URL: not the URL"},
		{"by flag", nil, []string{"--relay=nats", "--nats-url=http://hunter2"}, "--nats-url: not the URL"},
		{"by file", map[string]string{"RELAY": "nats", "NATS_URL_FILE": path}, nil, "NATS_URL_FILE: not the URL"},
		{"of another relay", map[string]string{"NATS_URL": "http://hunter2"}, nil, "NATS_URL: not the URL"},
	} {
		t.Run(row.name, func(t *testing.T) {
			_, _, err := load(row.input, row.flag...)
			if err == nil || !strings.HasPrefix(err.Error(), row.want) || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("got %v, want %s", err, row.want)
			}
		})
	}
}
