package config

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
	"github.com/google/go-cmp/cmp"
)

const documentation = "../../docs/configuration.md"

const head = `# Configuration

<!-- Generated from internal/config by "go generate ./internal/config"; edit the declaration instead. -->

Every setting of ` + "`bindu-edge serve`" + ` is an environment variable, a flag and a key of an optional YAML file. All three mean the same, and the same text is right in each.

* **Precedence:** a flag wins over the environment, the environment over the file, the file over the default.
* An environment variable that is set to nothing, and a key of the file without a value, count as unset.
* Numbers are plain decimals in the unit of the setting: seconds (0.5 is half a second), bytes, ports. Units, signs and exponents are refused.
* A value that can't be right stops the start with exit code 2 and one line that names the setting as it was given, such as ` + "`PORT: 70000 is not a port: use 1 to 65535`" + `.
* ` + "`bindu-edge serve --check`" + ` checks the settings, lists each with its value and where it came from, and ends. Secrets are not shown.
* ` + "`bindu-edge dev`" + ` takes the settings of Listening, Links, Requests, Limits and Logging, from flags and environment. There HOST is 127.0.0.1, MAX_REQUEST_BODY_BYTES 0 and ADMIN_ADDR none unless set.

## The file

` + "`--config edge.yaml`" + ` or ` + "`CONFIG_FILE=edge.yaml`" + `: one flat map of at most 1 MiB. Lists may be written as YAML lists or comma separated. An unknown key, a key that is given twice and a nested map are refused, with the number of the line.

`

const example = `# edge.yaml
port: 8443
public_url: https://edge.example.com
base_domain: tunnels.example.com
trusted_proxies:
  - 10.0.0.0/8
  - 192.0.2.7

control_plane_url: http://control:8000
registry: memory

request_timeout_seconds: 60
max_request_body_bytes: 0   # no limit
log_level: WARNING
`

const secrets = `
## Secrets

A secret can stand in a file, as Docker and Kubernetes mount them: ` + "`REDIS_PASSWORD_FILE=/run/secrets/redis`" + ` instead of ` + "`REDIS_PASSWORD`" + `. The file holds one line of text of at most 64 KiB; a line end after it is dropped. Both together are refused. No secret appears in a log, in an error or in the output of ` + "`--check`" + `; a secret given as a flag is seen by everyone who can list the processes of the machine, so use a file or the environment.
`

// page writes the whole documentation from the declaration.
func page(edge, control []*kong.Flag) string {
	var b strings.Builder
	b.WriteString(head + "```yaml\n" + example + "```\n" + secrets)
	group := ""
	for _, f := range edge {
		if f.Group.Title != group {
			group = f.Group.Title
			fmt.Fprintf(&b, "\n## %s\n\n| environment | flag | key | default | meaning |\n| --- | --- | --- | --- | --- |\n", group)
		}
		key := "`" + strings.ToLower(settingOf(f)) + "`"
		if f.Name == "config" {
			key = ""
		}
		fmt.Fprintf(&b, "| `%s` | `--%s` | %s | %s | %s |\n", settingOf(f), f.Name, key, fallback(f), meaning(f))
	}
	b.WriteString(controlHead)
	for _, f := range control {
		fmt.Fprintf(&b, "| `%s` | `--%s` | %s | %s |\n", settingOf(f), f.Name, fallback(f), meaning(f))
	}
	return b.String()
}

const controlHead = `
## Settings of ` + "`bindu-edge control`" + `

The control plane takes these, from flags and environment. [control-plane.md](control-plane.md) tells how to run one.

| environment | flag | default | meaning |
| --- | --- | --- | --- |
`

func fallback(f *kong.Flag) string {
	if f.Default == "" {
		return ""
	}
	return "`" + f.Default + "`"
}

func meaning(f *kong.Flag) string {
	text := f.Help
	if l := limits(f.Tag); l != "" {
		text += " " + strings.ToUpper(l[:1]) + l[1:] + "."
	}
	if e := f.Tag.Get("example"); e != "" {
		text += " Example: `" + e + "`."
	}
	return strings.ReplaceAll(text, "|", `\|`)
}

func TestDocumentation(t *testing.T) {
	want := page(flags(t), flagsOf(t, &Control{}))
	if *update {
		if err := os.WriteFile(documentation, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	got, err := os.ReadFile(documentation)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("docs/configuration.md is stale: run go generate ./internal/config (-want +got):\n%s", diff)
	}
}

func TestDocumentedExample(t *testing.T) {
	e, l, err := load(nil, "--config", write(t, "edge.yaml", example))
	if err != nil {
		t.Fatal(err)
	}
	if e.Port != 8443 || len(e.TrustedProxies) != 2 || e.MaxRequestBody != 0 || l.Origin("REGISTRY").Kind != FromFile {
		t.Errorf("not read: %+v", e)
	}
}

func TestDocumentedExamplesOfValues(t *testing.T) {
	for _, f := range flags(t) {
		text := f.Tag.Get("example")
		if text == "" {
			continue
		}
		if _, _, err := load(map[string]string{settingOf(f): text}); err != nil {
			t.Error(err)
		}
	}
}
