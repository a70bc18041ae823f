package terminal

import (
	"math"
	"testing"
	"time"
)

func TestFormatBytes(t *testing.T) {
	tests := []struct {
		name  string
		input int64
		want  string
	}{
		{"nothing", 0, "0B"},
		{"negative", -1, "0B"},
		{"bytes", 999, "999B"},
		{"one kilobyte", 1000, "1.0kB"},
		{"kilobytes", 1234, "1.2kB"},
		{"rounds to ten", 9999, "10kB"},
		{"rounds to the next unit", 999_999, "1.0MB"},
		{"megabytes", 123_456_789, "123MB"},
		{"largest", math.MaxInt64, "9EB"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := formatBytes(tt.input)
			if got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			if len(got) > sizeWidth {
				t.Errorf("%q is wider than its column", got)
			}
		})
	}
}

func TestFormatDuration(t *testing.T) {
	tests := []struct {
		name  string
		input time.Duration
		want  string
	}{
		{"nothing", 0, "0.0ms"},
		{"negative", -time.Second, "0.0ms"},
		{"microseconds", 440 * time.Microsecond, "0.4ms"},
		{"milliseconds", 12 * time.Millisecond, "12ms"},
		{"rounds to ten", 9990 * time.Microsecond, "10ms"},
		{"rounds to a second", 999600 * time.Microsecond, "1.00s"},
		{"seconds", 1234 * time.Millisecond, "1.23s"},
		{"tens of seconds", 45678 * time.Millisecond, "45.7s"},
		{"rounds to a minute", 59960 * time.Millisecond, "1m00s"},
		{"minutes", 123 * time.Second, "2m03s"},
		{"hours", 62*time.Minute + 3*time.Second, "1h02m"},
		{"days", 76 * time.Hour, "3d04h"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := formatDuration(tt.input)
			if got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			if len(got) > durationWidth {
				t.Errorf("%q is wider than its column", got)
			}
		})
	}
}
