package metrics

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// rules is a file of Prometheus' rules.
type rules struct {
	Groups []struct {
		Name  string `yaml:"name"`
		Rules []rule `yaml:"rules"`
	} `yaml:"groups"`
}

type rule struct {
	Alert       string            `yaml:"alert"`
	Expr        string            `yaml:"expr"`
	Labels      map[string]string `yaml:"labels,omitempty"`
	Annotations map[string]string `yaml:"annotations,omitempty"`
}

func alerts(t *testing.T) []rule {
	t.Helper()
	var file rules
	if err := yaml.Unmarshal([]byte(read(t, "deploy/prometheus/alerts.yaml")), &file); err != nil {
		t.Fatal(err)
	}
	var all []rule
	for _, g := range file.Groups {
		all = append(all, g.Rules...)
	}
	if len(all) < 10 {
		t.Fatalf("%d alerts are too few to be all", len(all))
	}
	return all
}

// panel is what matters here of a dashboard's.
type panel struct {
	ID          int
	Title, Type string
	Description string
	Targets     []struct{ Expr string }
}

func panels(t *testing.T) []panel {
	t.Helper()
	var dashboard struct{ Panels []panel }
	if err := json.Unmarshal([]byte(read(t, "deploy/grafana/bindu-edge.json")), &dashboard); err != nil {
		t.Fatal(err)
	}
	if len(dashboard.Panels) < 20 {
		t.Fatalf("%d panels are too few to be all", len(dashboard.Panels))
	}
	return dashboard.Panels
}

func promtool(t *testing.T, args ...string) {
	t.Helper()
	cmd := exec.Command("promtool", args...)
	cmd.Dir = filepath.Join(root, "deploy/prometheus")
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("promtool %s (make test installs it): %v\n%s", strings.Join(args, " "), err, text)
	}
}

func TestAlerts(t *testing.T) {
	t.Parallel()
	promtool(t, "check", "rules", "alerts.yaml")
	promtool(t, "test", "rules", "alerts_test.yaml")
	list := listed(t)
	tried := read(t, "deploy/prometheus/alerts_test.yaml")
	const documents = "https://github.com/getbindu/bindu-edge/blob/main/"
	for _, a := range alerts(t) {
		for _, problem := range problems(list, a.Expr) {
			t.Errorf("%s: %s", a.Alert, problem)
		}
		if s := a.Labels["severity"]; s != "page" && s != "ticket" {
			t.Errorf("%s has the severity %q", a.Alert, s)
		}
		if a.Annotations["summary"] == "" || a.Annotations["description"] == "" {
			t.Errorf("%s does not say what it is", a.Alert)
		}
		if n := strings.Count(tried, "alertname: "+a.Alert); n < 2 {
			t.Errorf("%s is tried %d times: once it should fire, and once not", a.Alert, n)
		}
		if !strings.Contains(tried, "alertname: "+a.Alert+"\n        exp_alerts:") {
			t.Errorf("%s never fires in a test", a.Alert)
		}
		page, anchor, _ := strings.Cut(strings.TrimPrefix(a.Annotations["runbook_url"], documents), "#")
		if anchor == "" || !slices.Contains(anchors(read(t, page)), anchor) {
			t.Errorf("%s leads to %q, which is not there", a.Alert, a.Annotations["runbook_url"])
		}
	}
}

// anchors are where links into a Markdown page can lead.
func anchors(text string) (found []string) {
	for _, m := range regexp.MustCompile(`(?m)^#+ (.+)$`).FindAllStringSubmatch(text, -1) {
		title := regexp.MustCompile(`<[^>]*>`).ReplaceAllString(m[1], "")
		title = regexp.MustCompile(`[^a-z0-9 _-]`).ReplaceAllString(strings.ToLower(title), "")
		found = append(found, strings.ReplaceAll(strings.TrimSpace(title), " ", "-"))
	}
	for _, m := range regexp.MustCompile(`<a id="([^"]+)">`).FindAllStringSubmatch(text, -1) {
		found = append(found, m[1])
	}
	return found
}

// The dashboard shows each of our metrics, and nothing that there is not.
func TestDashboard(t *testing.T) {
	t.Parallel()
	list := listed(t)
	shown := ""
	var checked rules
	checked.Groups = append(checked.Groups, struct {
		Name  string `yaml:"name"`
		Rules []rule `yaml:"rules"`
	}{Name: "panels"})
	ids := map[int]bool{}
	for _, p := range panels(t) {
		if ids[p.ID] {
			t.Errorf("two panels have the id %d", p.ID)
		}
		ids[p.ID] = true
		if p.Type != "row" && (len(p.Targets) == 0 || p.Description == "") {
			t.Errorf("the panel %q shows nothing, or does not say what", p.Title)
		}
		for i, target := range p.Targets {
			expr := strings.NewReplacer("$__rate_interval", "5m", "$instance", ".*").Replace(target.Expr)
			for _, problem := range problems(list, expr) {
				t.Errorf("panel %q: %s", p.Title, problem)
			}
			if strings.Contains(expr, "$") {
				t.Errorf("panel %q has a variable that is not there: %s", p.Title, target.Expr)
			}
			shown += expr + "\n"
			checked.Groups[0].Rules = append(checked.Groups[0].Rules, rule{Alert: fmt.Sprintf("Panel%d_%d", p.ID, i), Expr: expr})
		}
	}
	for name, m := range list {
		if m.kind != "" && !regexp.MustCompile(`\b`+name+`(_bucket)?\b`).MatchString(shown) {
			t.Errorf("no panel shows %s", name)
		}
	}
	// promtool looks at expressions in files of rules alone.
	text, err := yaml.Marshal(checked)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "panels.yaml")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	promtool(t, "check", "rules", file)
}
