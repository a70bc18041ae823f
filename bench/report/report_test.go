package report

import (
	"bytes"
	"encoding/json"
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func sample() *Report {
	return &Report{
		Machine: Machine{Commit: "abc123", Go: "go1.26", Kernel: "6.1", CPU: "Acme", CPUs: 2, Load: "0.10 0.20 0.30 1/2 3", Nginx: "1.22"},
		Started: time.Date(2027, 1, 2, 3, 4, 5, 0, time.UTC), Took: 123.4, Rounds: 3, Env: []string{"LOG_LEVEL=WARNING"},
		Rows: []Row{
			{Scenario: "get1k", Measure: "CPU, edge + agent", Unit: "µs/request", Against: "2 nginx", Reference: 90.123, Ours: 198.27, Lowest: 2.1, Highest: 2.31, MaxRatio: 2.5, Note: "4000 requests/s"},
			{Scenario: "latency", Measure: "p50", Unit: "ms", Against: "2 nginx", Reference: 0.41, Ours: 0.8273},
			{Scenario: "idle", Measure: "memory", Unit: "kB", Ours: 42.4, MaxOurs: 25},
		},
		Failed: []Failure{{"silent", "the agent ended"}},
	}
}

func TestTable(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	if err := sample().Table(&out); err != nil {
		t.Fatal(err)
	}
	want := `commit abc123, go1.26, Linux 6.1, nginx 1.22
2 × Acme, load before the run 0.10 0.20 0.30 1/2 3; 3 rounds, 123 s
with LOG_LEVEL=WARNING
A shared machine is noisy: trust ratios before figures, and CPU before time.

scenario  measure            unit        reference        ours   ratio  rounds     target   verdict
get1k     CPU, edge + agent  µs/request   90.1 (2 nginx)    198   2.20  2.10–2.31  ≤ 2.5 ×  ok
latency   p50                ms          0.410 (2 nginx)  0.827   2.02
idle      memory             kB                            42.4                    ≤ 25     missed

get1k, CPU, edge + agent: 4000 requests/s
silent FAILED: the agent ended
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestJSON(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	if err := sample().JSON(&out); err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"machine": map[string]any{
			"commit": "abc123", "go": "go1.26", "kernel": "6.1", "cpu": "Acme", "cpus": 2.0,
			"load_before": "0.10 0.20 0.30 1/2 3", "nginx": "1.22",
		},
		"started": "2027-01-02T03:04:05Z", "seconds": 123.4, "rounds": 3.0, "env": []any{"LOG_LEVEL=WARNING"},
		"rows": []any{
			map[string]any{
				"scenario": "get1k", "measure": "CPU, edge + agent", "unit": "µs/request", "against": "2 nginx",
				"reference": 90.123, "ours": 198.27, "ratio": 198.27 / 90.123, "lowest_ratio": 2.1, "highest_ratio": 2.31,
				"max_ratio": 2.5, "verdict": "ok", "note": "4000 requests/s",
			},
			map[string]any{
				"scenario": "latency", "measure": "p50", "unit": "ms", "against": "2 nginx",
				"reference": 0.41, "ours": 0.8273, "ratio": 0.8273 / 0.41,
			},
			map[string]any{"scenario": "idle", "measure": "memory", "unit": "kB", "ours": 42.4, "max_ours": 25.0, "verdict": "missed"},
		},
		"failed": []any{map[string]any{"scenario": "silent", "error": "the agent ended"}},
	}
	near := cmp.Comparer(func(a, b float64) bool { return math.Abs(a-b) < 1e-9 })
	if diff := cmp.Diff(want, got, near); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestVerdict(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name     string
		input    Row
		want     string
		complete bool
	}{
		{"at the ratio", Row{Reference: 2, Ours: 5, MaxRatio: 2.5}, OK, true},
		{"above the ratio", Row{Reference: 2, Ours: 5.01, MaxRatio: 2.5}, Missed, true},
		{"at the figure", Row{Ours: 25, MaxOurs: 25}, OK, true},
		{"above the figure", Row{Ours: 25.1, MaxOurs: 25}, Missed, true},
		{"no target", Row{Reference: 1, Ours: 9}, "", true},
		{"nothing to divide by", Row{Ours: 9, MaxRatio: 2}, Unmeasured, false},
		{"less than nothing", Row{Reference: -1, Ours: 9, MaxRatio: 2}, Unmeasured, false},
		{"no number", Row{Reference: 1, Ours: math.NaN(), MaxRatio: 2}, Unmeasured, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := tt.input.Verdict(); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			r := Report{Rows: []Row{tt.input}}
			if got := r.Complete(); got != tt.complete {
				t.Errorf("complete: %v, want %v", got, tt.complete)
			}
		})
	}
	if (&Report{Failed: []Failure{{"idle", "no"}}}).Complete() {
		t.Error("a report with a failure is complete")
	}
}

func TestNumber(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		input float64
		want  string
	}{
		{"zero", 0, "0"},
		{"small", 0.0412345, "0.0412"},
		{"below one", 0.4123, "0.412"},
		{"below ten", 4.1234, "4.12"},
		{"below a hundred", 41.234, "41.2"},
		{"above", 4123.4, "4123"},
		{"next to nothing", 0.00001, "0.0000"},
		{"negative", -4.1234, "-4.12"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := number(tt.input); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}
