package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

const long = "hunter2-hunter2-hunter2-hunter2-" // 32 bytes

func TestSecretIsNeverShown(t *testing.T) {
	s := NewSecret(long)
	holder := struct {
		S      Secret
		P      *Secret
		hidden Secret
	}{s, &s, s}
	var shown []string
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d", "%t", "%p", "%T %v"} {
		shown = append(shown, fmt.Sprintf(verb, s, s), fmt.Sprintf(verb, holder, holder), fmt.Sprintf(verb, &s, s))
	}
	j, errJ := json.Marshal(holder)
	y, errY := yaml.Marshal(holder)
	if err := errors.Join(errJ, errY); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("m", "s", s, "p", &s)
	slog.New(slog.NewJSONHandler(&log, nil)).Info("m", "s", s, "h", holder)
	shown = append(shown, string(j), string(y), log.String(), s.String(), s.GoString())
	for _, text := range shown {
		if strings.Contains(text, "hunter") || strings.Contains(text, fmt.Sprintf("%x", "hunter")) {
			t.Errorf("shown: %s", text)
		}
	}
	if got := fmt.Sprint(s); got != "[redacted]" {
		t.Errorf("printed as %q", got)
	}
	if s.Reveal() != long || !s.Equal(NewSecret(long)) || s.Equal(NewSecret("x")) || s.IsZero() || NewSecret("").String() != "" {
		t.Error("Reveal, Equal or IsZero is wrong")
	}
}

func TestSecretFile(t *testing.T) {
	tests := []struct{ name, input, want, err string }{
		{"plain", "hunter2", "hunter2", ""},
		{"line end", "hunter2\n", "hunter2", ""},
		{"line end of Windows", "hunter2\r\n", "hunter2", ""},
		{"space belongs to it", " a b ", " a b ", ""},
		{"empty", "", "", "FILE: is empty: it must hold the secret"},
		{"a line end alone", "\n", "", "FILE: is empty: it must hold the secret"},
		{"two lines", "hunter2\nhunter3\n", "", "FILE: holds control characters: it must be one line of text"},
		{"not text", "hunter\xff", "", "FILE: holds control characters: it must be one line of text"},
		{"too large", strings.Repeat("x", maxSecret+1), "", "FILE: holds more than 65536 bytes: that is no secret"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := write(t, "secret", tt.input)
			e, l, err := load(map[string]string{"REDIS_PASSWORD_FILE": path})
			if tt.err != "" {
				if want := "REDIS_PASSWORD_FILE: " + strings.ReplaceAll(tt.err, "FILE", path); err == nil || err.Error() != want {
					t.Fatalf("got  %v\nwant %s", err, want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := e.RedisPassword.Reveal(); got != tt.want {
				t.Errorf("read %q, want %q", got, tt.want)
			}
			if l.Origin("REDIS_PASSWORD_FILE").Kind != FromEnv {
				t.Error("the origin is lost")
			}
		})
	}
}

func TestEverySecretFromAFile(t *testing.T) {
	secret := long + "1" // a host name too, as NATS_URL has to hold one
	path := write(t, "secret", secret+"\n")
	e, _, err := load(map[string]string{"CONTROL_PLANE_TOKEN_FILE": path, "REDIS_PASSWORD_FILE": path, "PEER_SECRET_FILE": path}, "--nats-url-file", path)
	if err != nil {
		t.Fatal(err)
	}
	for name, s := range map[string]Secret{"CONTROL_PLANE_TOKEN": e.ControlPlaneToken, "REDIS_PASSWORD": e.RedisPassword, "PEER_SECRET": e.PeerSecret, "NATS_URL": e.NATSURL} {
		if s.Reveal() != secret {
			t.Errorf("%s is not read from its file", name)
		}
	}
	// A new secret must be added to Finish and here.
	n := 0
	for _, f := range flags(t) {
		if f.Tag.Type == "secret" {
			n++
		}
	}
	if n != 4 {
		t.Errorf("%d secrets are declared, 4 are tested", n)
	}
}

func TestSettingsThatDontGoTogether(t *testing.T) {
	path, short := write(t, "secret", long), write(t, "short", "hunter2")
	type vars = map[string]string
	tests := []struct {
		name  string
		input vars
		want  string // empty: accepted
	}{
		{"secret and file", vars{"REDIS_PASSWORD": "x", "REDIS_PASSWORD_FILE": path}, "REDIS_PASSWORD_FILE: given together with REDIS_PASSWORD: use one of the two"},
		{"missing secret file", vars{"PEER_SECRET_FILE": "/none"}, "PEER_SECRET_FILE: /none can't be read: no such file or directory"},
		{"a directory as secret", vars{"PEER_SECRET_FILE": "/"}, "PEER_SECRET_FILE: /: / can't be read: is a directory"},
		{"short secret in a file", vars{"PEER_SECRET_FILE": short}, "PEER_SECRET_FILE: " + show(short) + ": has 7 bytes: use at least 32, such as the output of openssl rand -hex 32"},
		{"admin on the public port", vars{"ADMIN_ADDR": "127.0.0.1:8080"}, "ADMIN_ADDR: port 8080 is taken by the public listener (PORT): use another"},
		{"admin on another address", vars{"HOST": "127.0.0.2", "ADMIN_ADDR": "127.0.0.1:8080"}, ""},
		{"admin on every address", vars{"HOST": "127.0.0.2", "ADMIN_ADDR": ":8080"}, "ADMIN_ADDR: port 8080 is taken by the public listener (PORT): use another"},
		{"any free port", vars{"ADMIN_ADDR": "127.0.0.1:0"}, ""},
		{"peers on the public port", vars{"PEER_SECRET": long, "PEER_ADDR": ":8080"}, "PEER_ADDR: port 8080 is taken by the public listener (PORT): use another"},
		{"peers on the admin port", vars{"PEER_SECRET": long, "PEER_ADDR": ":9090"}, "PEER_ADDR: the same port as ADMIN_ADDR: use another"},
		{"no peers, no clash", vars{"PEER_ADDR": ":8080"}, ""},
		{"delay as long as the timeout", vars{"DRAIN_DELAY_SECONDS": "30"}, ""},
		{"delay in a shorter timeout", vars{"DRAIN_TIMEOUT_SECONDS": "2.5"}, ""},
		{"nobody can connect, which a warning says", vars{"CONTROL_PLANE_URL": "none"}, ""},
		{"ephemeral alone", vars{"CONTROL_PLANE_URL": "NONE", "EPHEMERAL_TUNNELS": "1"}, ""},
		{"a certificate without key", vars{"TLS_CERT_FILE": "/c"}, "TLS_CERT_FILE: needs TLS_KEY_FILE too: give certificate and key together"},
		{"a key without certificate", vars{"TLS_KEY_FILE": "/k"}, "TLS_KEY_FILE: needs TLS_CERT_FILE too: give certificate and key together"},
		{"a redirect to nothing", vars{"REDIRECT_HTTP_PORT": "80"}, "REDIRECT_HTTP_PORT: needs TLS_CERT_FILE and TLS_KEY_FILE: there is nothing to redirect to"},
		{"a redirect", vars{"REDIRECT_HTTP_PORT": "80", "TLS_CERT_FILE": "/c", "TLS_KEY_FILE": "/k"}, ""},
		{"a redirect to itself", vars{"REDIRECT_HTTP_PORT": "8080", "TLS_CERT_FILE": "/c", "TLS_KEY_FILE": "/k"}, "REDIRECT_HTTP_PORT: the same port as PORT: use another"},
		{"a redirect on the admin port", vars{"REDIRECT_HTTP_PORT": "9090", "TLS_CERT_FILE": "/c", "TLS_KEY_FILE": "/k"}, "REDIRECT_HTTP_PORT: the same port as ADMIN_ADDR: use another"},
		{"a redirect on the peers' port", vars{"REDIRECT_HTTP_PORT": "7070", "TLS_CERT_FILE": "/c", "TLS_KEY_FILE": "/k", "PEER_SECRET": long}, "REDIRECT_HTTP_PORT: the same port as PEER_ADDR: use another"},
		{"PROXY headers of nobody", vars{"PROXY_PROTOCOL": "true"}, "PROXY_PROTOCOL: needs TRUSTED_PROXIES: anybody could claim any address otherwise; set it to the load balancer's"},
		{"PROXY headers", vars{"PROXY_PROTOCOL": "true", "TRUSTED_PROXIES": "10.0.0.0/8"}, ""},
		{"half a certificate", vars{"PEER_TLS_CERT_FILE": "/c", "PEER_TLS_CA_FILE": "/a"}, "PEER_TLS_CA_FILE: needs PEER_TLS_KEY_FILE too: give certificate, key and authority together"},
		{"certificate and secret", vars{"PEER_TLS_CERT_FILE": "/c", "PEER_TLS_KEY_FILE": "/k", "PEER_TLS_CA_FILE": "/a", "PEER_SECRET": long},
			"PEER_TLS_CA_FILE: given together with PEER_SECRET: peers prove themselves by one of the two"},
		{"nats without a server", vars{"RELAY": "nats"}, "RELAY: nats needs a server: set NATS_URL"},
		{"nats", vars{"RELAY": "nats", "NATS_URL": "nats://u:hunter2@h:4222"}, ""},
		{"a deployment of the original", vars{"REDIS_HOST": "redis", "REDIS_PASSWORD": "p", "CONTROL_PLANE_URL": "http://control:8000", "LOG_LEVEL": "info", "PORT": "8080", "HOST": "0.0.0.0"}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, _, err := load(tt.input)
			var wrong *SettingError
			switch {
			case tt.want == "" && err != nil:
				t.Errorf("refused: %v", err)
			case tt.want != "" && (!errors.As(err, &wrong) || err.Error() != tt.want):
				t.Errorf("got  %v\nwant %s", err, tt.want)
			}
		})
	}
}
