package metrics

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// What an expression is made of, as far as ours go. promtool knows the grammar;
// here it is about names.
var (
	matcher  = regexp.MustCompile(`([a-zA-Z_:][a-zA-Z0-9_:]*)?\{([^{}]*)\}`)
	matched  = regexp.MustCompile(`([a-zA-Z_][a-zA-Z0-9_]*)\s*(=~|!~|!=|=)\s*"((?:[^"\\]|\\.)*)"`)
	grouping = regexp.MustCompile(`\b(by|without|on|ignoring|group_left|group_right)\s*\(([^()]*)\)`)
	window   = regexp.MustCompile(`\[[0-9a-z:]+\]`)
	word     = regexp.MustCompile(`[a-zA-Z_:][a-zA-Z0-9_:]*`)
)

// words of PromQL that our expressions use.
var promql = []string{
	"sum", "count", "max", "min", "rate", "increase", "histogram_quantile", "max_over_time", "absent", "scalar",
	"and", "or", "unless", "by", "without", "on", "ignoring", "offset", "bool", "e15",
}

// ofPrometheus are the labels that a scrape adds.
var ofPrometheus = []string{"instance", "job"}

// problems are the names, labels and values of an expression that there are not.
func problems(list map[string]metric, expr string) (found []string) {
	say := func(format string, args ...any) { found = append(found, fmt.Sprintf(format, args...)) }
	family := func(name string) (metric, bool) {
		if m, ok := list[name]; ok && m.kind != "histogram" {
			return m, true
		}
		for _, suffix := range []string{"_bucket", "_sum", "_count"} {
			if m, ok := list[strings.TrimSuffix(name, suffix)]; ok && m.kind == "histogram" && strings.HasSuffix(name, suffix) {
				return m, true
			}
		}
		return metric{}, false
	}
	labels := slices.Clone(ofPrometheus) // of all metrics of the expression
	names := 0
	use := func(name string) metric {
		m, known := family(name)
		if !known {
			say("there is no metric %s", name)
		}
		names++
		for label := range m.labels {
			labels = append(labels, label)
		}
		return m
	}
	rest := matcher.ReplaceAllStringFunc(expr, func(text string) string {
		parts := matcher.FindStringSubmatch(text)
		m := use(parts[1])
		for _, pair := range matched.FindAllStringSubmatch(parts[2], -1) {
			label, operator, value := pair[1], pair[2], pair[3]
			if slices.Contains(ofPrometheus, label) {
				continue
			}
			values, known := m.labels[label]
			if !known {
				say("%s has no label %s", parts[1], label)
				continue
			}
			wanted := []string{value}
			if strings.HasSuffix(operator, "~") {
				wanted = strings.Split(value, "|")
			}
			for _, v := range wanted {
				if !slices.Contains(values, v) {
					say("%s is never %s=%q", parts[1], label, v)
				}
			}
		}
		return " "
	})
	rest = window.ReplaceAllString(rest, " ")
	var grouped []string
	rest = grouping.ReplaceAllStringFunc(rest, func(text string) string {
		for label := range strings.SplitSeq(grouping.FindStringSubmatch(text)[2], ",") {
			grouped = append(grouped, strings.TrimSpace(label))
		}
		return " "
	})
	for _, name := range word.FindAllString(rest, -1) {
		if !slices.Contains(promql, name) {
			use(name)
		}
	}
	for _, label := range grouped {
		if !slices.Contains(labels, label) {
			say("nothing here has a label %s", label)
		}
	}
	if names == 0 {
		say("there is no metric at all")
	}
	return found
}

func TestProblems(t *testing.T) {
	t.Parallel()
	list := map[string]metric{
		"a_total": {kind: "counter", labels: map[string][]string{"outcome": {"ok", "bad"}}},
		"h":       {kind: "histogram", labels: map[string][]string{"le": {"1"}}},
		"go_x":    {labels: map[string][]string{}},
	}
	for _, row := range []struct {
		input string
		want  []string
	}{
		{`sum by (outcome, instance) (rate(a_total{outcome=~"ok|bad",instance=~".*"}[5m])) > 0.5`, nil},
		{`histogram_quantile(0.99, sum by (le) (rate(h_bucket[5m]))) and on (instance) go_x < 1e15`, nil},
		{`rate(b_total[5m])`, []string{"there is no metric b_total"}},
		{`b_total{x="1"}`, []string{"there is no metric b_total", "b_total has no label x"}},
		{`a_total{outcome="worse"}`, []string{`a_total is never outcome="worse"`}},
		{`a_total{outcome!~"ok|worse"}`, []string{`a_total is never outcome="worse"`}},
		{`sum by (tunnel) (a_total)`, []string{"nothing here has a label tunnel"}},
		{`h`, []string{"there is no metric h"}},
		{`a_total_bucket`, []string{"there is no metric a_total_bucket"}},
		{`{outcome="ok"}`, []string{"there is no metric ", " has no label outcome"}},
		{`1 > 0`, []string{"there is no metric at all"}},
	} {
		t.Run(row.input, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(row.want, problems(list, row.input)); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
		})
	}
}
