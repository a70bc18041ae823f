package report

import (
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Table writes the report for people: a head, one line a figure, and what there
// is to say about some of them.
func (r *Report) Table(w io.Writer) error {
	var b strings.Builder
	m := r.Machine
	fmt.Fprintf(&b, "commit %s, %s, Linux %s, nginx %s\n", m.Commit, m.Go, m.Kernel, m.Nginx)
	fmt.Fprintf(&b, "%d × %s, load before the run %s; %d rounds, %.0f s\n", m.CPUs, m.CPU, m.Load, r.Rounds, r.Took)
	if len(r.Env) > 0 {
		fmt.Fprintf(&b, "with %s\n", strings.Join(r.Env, " "))
	}
	b.WriteString("A shared machine is noisy: trust ratios before figures, and CPU before time.\n\n")

	lines := [][]string{{"scenario", "measure", "unit", "reference", "ours", "ratio", "rounds", "target", "verdict"}}
	for _, row := range r.Rows {
		lines = append(lines, row.cells())
	}
	align(&b, lines)
	for _, row := range r.Rows {
		if row.Note != "" {
			fmt.Fprintf(&b, "\n%s, %s: %s", row.Scenario, row.Measure, row.Note)
		}
	}
	for _, f := range r.Failed {
		fmt.Fprintf(&b, "\n%s FAILED: %s", f.Scenario, f.Error)
	}
	_, err := io.WriteString(w, strings.TrimRight(b.String(), "\n")+"\n")
	return err
}

func (r Row) cells() []string {
	reference, ratio, rounds, target := "", "", "", ""
	if r.Against != "" {
		reference = fmt.Sprintf("%s (%s)", number(r.Reference), r.Against)
	}
	if r.Ratio() > 0 {
		ratio = fmt.Sprintf("%.2f", r.Ratio())
	}
	if r.Highest > 0 {
		rounds = fmt.Sprintf("%.2f–%.2f", r.Lowest, r.Highest)
	}
	switch {
	case r.MaxRatio > 0:
		target = fmt.Sprintf("≤ %g ×", r.MaxRatio)
	case r.MaxOurs > 0:
		target = fmt.Sprintf("≤ %g", r.MaxOurs)
	}
	return []string{r.Scenario, r.Measure, r.Unit, reference, number(r.Ours), ratio, rounds, target, r.Verdict()}
}

// number has three digits that count.
func number(v float64) string {
	digits := 0
	if v != 0 && math.Abs(v) < 100 {
		digits = 2 - int(math.Floor(math.Log10(math.Abs(v))))
	}
	return strconv.FormatFloat(v, 'f', min(digits, 4), 64)
}

// align writes columns, two spaces apart: what begins with a digit stands right.
func align(b *strings.Builder, lines [][]string) {
	var widths []int
	for _, line := range lines {
		for i, cell := range line {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	for _, line := range lines {
		var out strings.Builder
		for i, cell := range line {
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			if cell != "" && cell[0] >= '0' && cell[0] <= '9' {
				out.WriteString(pad + cell + "  ")
			} else {
				out.WriteString(cell + pad + "  ")
			}
		}
		b.WriteString(strings.TrimRight(out.String(), " ") + "\n")
	}
}
