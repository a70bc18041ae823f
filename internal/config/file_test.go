package config

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestFileRefused(t *testing.T) {
	tests := []struct{ name, input, want string }{
		{"unknown key", "host: x\nredis_hots: y\n", "FILE:2: redis_hots: no such setting: did you mean redis_host?"},
		{"upper case key", "REDIS_HOST: y\n", "FILE:1: REDIS_HOST: no such setting: did you mean redis_host?"},
		{"key of a flag", "redis-host: y\n", "FILE:1: redis-host: no such setting: did you mean redis_host?"},
		{"far from any key", "zebra: y\n", "FILE:1: zebra: no such setting: the settings are listed by bindu-edge serve --help"},
		{"very long key", strings.Repeat("k", 100) + ": y\n", "FILE:1: " + strings.Repeat("k", 60) + "…: no such setting: the settings are listed by bindu-edge serve --help"},
		{"a file can't name a file", "config: y\n", "FILE:1: config: no such setting: the settings are listed by bindu-edge serve --help"},
		{"duplicate key", "port: 1\nhost: x\nport: 2\n", "FILE:3: port: given twice, first in line 1: leave one"},
		{"nested map", "redis:\n  host: x\n", "FILE:1: redis: is a map: settings are flat, write such as redis_host: localhost"},
		{"map as value", "port:\n  a: 1\n", "FILE:2: port: is a map: write one value"},
		{"list as value", "port: [1, 2]\n", "FILE:1: port: is a list: write one value"},
		{"list of maps", "trusted_proxies: [{a: 1}]\n", "FILE:1: trusted_proxies: holds something that is no text: write a list of plain values"},
		{"alias", "host: &a x\nredis_host: *a\n", "FILE:2: redis_host: is an alias: write the value itself"},
		{"merge key", "<<: {port: 1}\n", "FILE:1: <<: is a map: settings are flat, write such as redis_host: localhost"},
		{"binary", "host: !!binary eA==\n", "FILE:1: host: is binary: write it as text"},
		{"a list", "- port\n", "FILE:1: not a map: write lines such as port: 8080"},
		{"a word", "port\n", "FILE:1: not a map: write lines such as port: 8080"},
		{"odd key", "[a]: b\n", "FILE:1: not the name of a setting: write lines such as port: 8080"},
		{"two documents", "port: 1\n---\nport: 2\n", "FILE:2: a second document: use one"},
		{"wrong value", "\n\nport: 8O80\n", "FILE:3: port: 8O80 is not a port: use 1 to 65535"},
		{"YAML's octal is no number", "max_tunnels: 0o17\n", "FILE:1: max_tunnels: 0o17 is not a number: use 0 to 10000000 (0: no limit)"},
		{"too large", "# " + strings.Repeat("x", maxFile) + "\n", "--config: FILE is larger than 1048576 bytes: that is no settings file"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := write(t, "edge.yaml", tt.input)
			_, _, err := load(nil, "--config", path)
			if err == nil || err.Error() != strings.ReplaceAll(tt.want, "FILE", show(path)) {
				t.Errorf("got  %v\nwant %s", err, tt.want)
			}
		})
	}
}

func TestFileThatIsNoYAML(t *testing.T) {
	for _, input := range []string{"port: [", "a:\tb:\n\t- c", "port: 1\n  host: x\n", "\x00", "port: \"\\xff", "a: b\n---\n["} {
		path := write(t, "edge.yaml", input)
		_, _, err := load(nil, "--config", path)
		if err == nil || !strings.HasPrefix(err.Error(), "--config: "+path+" is not YAML: ") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: %v", input, err)
		}
	}
}

func TestFileAccepted(t *testing.T) {
	tests := []struct {
		name, input string
		want        map[string]string
	}{
		{"nothing", "", map[string]string{}},
		{"comments", "# port: 1\n", map[string]string{}},
		{"null", "~\n", map[string]string{}},
		{"plain and quoted", "port: 8081\nhost: \"::1\"\n", map[string]string{"port": "8081", "host": "::1"}},
		{"list", "trusted_proxies:\n  - 10.0.0.0/8\n  - 192.0.2.7\n", map[string]string{"trusted_proxies": "10.0.0.0/8,192.0.2.7"}},
		{"as written, not as YAML reads it", "redis_password: 0123\nredis_tls: yes\n", map[string]string{"redis_password": "0123", "redis_tls": "yes"}},
		{"empty values are unset", "host:\nredis_host: ''\ntrusted_proxies: []\n", map[string]string{}},
	}
	known := map[string]bool{"port": false, "host": false, "redis_host": false, "redis_password": false, "redis_tls": false, "trusted_proxies": true}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f, err := parseFile("edge.yaml", []byte(tt.input), known)
			if err != nil {
				t.Fatal(err)
			}
			got := map[string]string{}
			for k, l := range f.lines {
				got[k] = l.text
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// Whatever a file holds, reading it ends, and in one line.
func FuzzParseFile(f *testing.F) {
	for _, s := range []string{"port: 1", "a: &a [*a]", "<<: {port: 1}", "port: 1\n---\nport: 2", "? {a: b}\n: c", "%YAML 1.1\n---\nport: 1", "port: !!int x", "---\n...\n---"} {
		f.Add([]byte(s))
	}
	known := map[string]bool{"port": false, "trusted_proxies": true}
	f.Fuzz(func(t *testing.T, data []byte) {
		out, err := parseFile("edge.yaml", data, known)
		if (out == nil) == (err == nil) {
			t.Fatal("neither a file nor an error, or both")
		}
		if err != nil && strings.ContainsAny(err.Error(), "\n\r\x1b") {
			t.Errorf("not one plain line: %q", err)
		}
	})
}

func TestDistance(t *testing.T) {
	tests := []struct {
		a, b string
		want int
	}{{"", "", 0}, {"", "abc", 3}, {"abc", "", 3}, {"kitten", "sitting", 3}, {"port", "port", 0}, {"prot", "port", 2}, {"ab", "b", 1}}
	for _, tt := range tests {
		if got := distance(tt.a, tt.b); got != tt.want {
			t.Errorf("distance(%q, %q) = %d, want %d", tt.a, tt.b, got, tt.want)
		}
	}
}
