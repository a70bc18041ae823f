// Package metrics holds what is written about the metrics of an edge (their
// documentation, the alerts, the dashboard) against the list of those that there
// are, which test/e2e keeps true.
package metrics

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const root = "../.."

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// metric is one of the list.
type metric struct {
	kind   string              // "" = the runtime's or the process's, of which nothing is known but the name
	labels map[string][]string // and their values
}

// listed reads the list.
func listed(t *testing.T) map[string]metric {
	t.Helper()
	list := map[string]metric{}
	last := ""
	for line := range strings.Lines(read(t, "test/e2e/testdata/metrics.golden")) {
		words := strings.Fields(line)
		if strings.HasPrefix(line, " ") {
			list[last].labels[strings.TrimSuffix(words[0], ":")] = words[1:]
			continue
		}
		last = words[0]
		m := metric{labels: map[string][]string{}}
		if len(words) > 1 {
			m.kind = words[1]
		}
		list[last] = m
	}
	if len(list) < 20 {
		t.Fatalf("%d metrics are too few to be all", len(list))
	}
	return list
}

// docs/metrics.md has one row for each metric of ours, with its type and labels,
// and says what each label value means.
func TestMetricsAreDocumented(t *testing.T) {
	t.Parallel()
	row := regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\| ([a-z]+) \\|([^|]*)\\| ([^|]+) \\|$")
	quoted := regexp.MustCompile("`([^`]+)`")
	text := read(t, "docs/metrics.md")
	type documented struct {
		Kind   string
		Labels []string
	}
	got := map[string]documented{}
	for _, m := range row.FindAllStringSubmatch(text, -1) {
		if _, twice := got[m[1]]; twice {
			t.Errorf("%s has two rows", m[1])
		}
		d := documented{Kind: m[2]}
		for _, label := range quoted.FindAllStringSubmatch(m[3], -1) {
			d.Labels = append(d.Labels, label[1])
		}
		got[m[1]] = d
	}
	want := map[string]documented{}
	explained := text + read(t, "docs/errors.md")
	for name, m := range listed(t) {
		if m.kind == "" {
			continue
		}
		d := documented{Kind: m.kind}
		for label, values := range m.labels {
			if label == "le" {
				continue
			}
			d.Labels = append(d.Labels, label)
			for _, v := range values {
				if v != "*" && (label != "class" || v[0] == '1' || v[0] == '5' || v == "none") && !strings.Contains(explained, "`"+v+"`") {
					t.Errorf("docs/metrics.md does not say what %s{%s=%q} is", name, label, v)
				}
			}
		}
		slices.Sort(d.Labels)
		want[name] = d
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("docs/metrics.md (-there are +documented):\n%s", diff)
	}
}
