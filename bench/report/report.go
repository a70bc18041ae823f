// Package report holds what was measured and shows it, to people as a table and
// to programs as JSON. It decides whether a target was reached, by the figures
// alone. Its input is the benchmark's own, and trusted.
package report

import (
	"encoding/json"
	"io"
	"math"
	"time"
)

// Report is one run.
type Report struct {
	Machine Machine   `json:"machine"`
	Started time.Time `json:"started"`
	Took    float64   `json:"seconds"`
	Rounds  int       `json:"rounds"`
	Env     []string  `json:"env,omitempty"` // settings of the edge that are not the default
	Rows    []Row     `json:"rows"`
	Failed  []Failure `json:"failed,omitempty"`
}

// Machine is what the figures hold for.
type Machine struct {
	Commit string `json:"commit"`
	Go     string `json:"go"`
	Kernel string `json:"kernel"`
	CPU    string `json:"cpu"`
	CPUs   int    `json:"cpus"`
	Load   string `json:"load_before"` // /proc/loadavg as the run began
	Nginx  string `json:"nginx"`
}

// Failure is a scenario without figures.
type Failure struct {
	Scenario string `json:"scenario"`
	Error    string `json:"error"`
}

// Row is one figure, beside what it is measured against.
type Row struct {
	Scenario string `json:"scenario"`
	Measure  string `json:"measure"`
	Unit     string `json:"unit"`
	// Against says what Reference is; both are empty when there is nothing to
	// compare with.
	Against   string  `json:"against,omitempty"`
	Reference float64 `json:"reference,omitzero"`
	Ours      float64 `json:"ours"`
	// Lowest and Highest are the ratios of single rounds.
	Lowest  float64 `json:"lowest_ratio,omitzero"`
	Highest float64 `json:"highest_ratio,omitzero"`
	// MaxRatio or MaxOurs is the target: at most that. 0 for none.
	MaxRatio float64 `json:"max_ratio,omitzero"`
	MaxOurs  float64 `json:"max_ours,omitzero"`
	Note     string  `json:"note,omitempty"`
}

// Ratio is ours to the reference; 0 without a reference.
func (r Row) Ratio() float64 {
	if r.Reference <= 0 {
		return 0
	}
	return r.Ours / r.Reference
}

// The verdicts. A row without a target has none; a figure that is no number, or
// a target ratio that can't be had, was not measured.
const (
	OK         = "ok"
	Missed     = "missed"
	Unmeasured = "no figure"
)

// Verdict holds the row against its target.
func (r Row) Verdict() string {
	switch {
	case r.MaxRatio > 0 && r.Reference <= 0, math.IsNaN(r.Ours), math.IsInf(r.Ours, 0):
		return Unmeasured
	case r.MaxRatio > 0 && r.Ratio() > r.MaxRatio, r.MaxOurs > 0 && r.Ours > r.MaxOurs:
		return Missed
	case r.MaxRatio > 0, r.MaxOurs > 0:
		return OK
	}
	return ""
}

// MarshalJSON adds what is derived.
func (r Row) MarshalJSON() ([]byte, error) {
	type plain Row
	return json.Marshal(struct {
		plain
		Ratio   float64 `json:"ratio,omitzero"`
		Verdict string  `json:"verdict,omitempty"`
	}{plain(r), r.Ratio(), r.Verdict()})
}

// Complete is false when something could not be measured.
func (r *Report) Complete() bool {
	for _, row := range r.Rows {
		if row.Verdict() == Unmeasured {
			return false
		}
	}
	return len(r.Failed) == 0
}

// JSON writes the report for programs.
func (r *Report) JSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(r)
}
