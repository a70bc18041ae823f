package terminal

import (
	"fmt"
	"strconv"
	"time"
)

// formatBytes shows a size in at most six columns, in powers of 1000 with two
// significant digits below ten: 0B, 999B, 1.2kB, 12kB, 3.4MB.
func formatBytes(n int64) string {
	if n < 1000 {
		return strconv.FormatInt(max(n, 0), 10) + "B"
	}
	v := float64(n)
	for _, unit := range []string{"kB", "MB", "GB", "TB", "PB"} {
		v /= 1000
		switch {
		case v < 9.95:
			return fmt.Sprintf("%.1f%s", v, unit)
		case v < 999.5:
			return fmt.Sprintf("%.0f%s", v, unit)
		}
	}
	return strconv.FormatInt(n/1e18, 10) + "EB"
}

// formatDuration shows a time in at most six columns: 0.4ms, 12ms, 1.23s,
// 45.6s, 2m03s, 1h02m, 3d04h.
func formatDuration(d time.Duration) string {
	d = max(d, 0)
	switch {
	case d < 9950*time.Microsecond:
		return fmt.Sprintf("%.1fms", float64(d)/float64(time.Millisecond))
	case d < 999500*time.Microsecond:
		return fmt.Sprintf("%.0fms", float64(d)/float64(time.Millisecond))
	case d < 9995*time.Millisecond:
		return fmt.Sprintf("%.2fs", d.Seconds())
	case d < 59950*time.Millisecond:
		return fmt.Sprintf("%.1fs", d.Seconds())
	}
	return formatSpan(d)
}

// formatSpan shows a time that is counted in seconds rather than measured:
// 7s, 2m03s, 1h02m, 3d04h.
func formatSpan(d time.Duration) string {
	s := int64(max(d, 0).Round(time.Second) / time.Second)
	switch {
	case s < 60:
		return fmt.Sprintf("%ds", s)
	case s < 3600:
		return fmt.Sprintf("%dm%02ds", s/60, s%60)
	case s < 86400:
		return fmt.Sprintf("%dh%02dm", s/3600, s%3600/60)
	}
	return fmt.Sprintf("%dd%02dh", s/86400, s%86400/3600)
}

// formatWait is formatSpan for a countdown: never 0s while something is awaited.
func formatWait(d time.Duration) string { return formatSpan(max(d, time.Second)) }

func formatStatus(status int) string {
	if status <= 0 {
		return "-"
	}
	return strconv.Itoa(status)
}

func plural(n int64, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.FormatInt(n, 10) + " " + many
}
