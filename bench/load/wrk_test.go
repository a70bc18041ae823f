package load

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const wrkHead = "Running 3s test @ http://127.0.0.1:1/1k\n  1 threads and 64 connections\n  Thread Stats ...\n"

func TestReadWrk(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, input string
		want        Closed
		err         string
	}{
		{"fine", wrkHead + "counted 1000 1234567 3000123 0 0 0 0 0\n", Closed{1000, 1234567, 3000123 * time.Microsecond}, ""},
		{"wrong answers", wrkHead + "counted 1000 1234567 3000123 0 0 0 7 0\n", Closed{}, "status 7"},
		{"no connection", wrkHead + "counted 0 0 3000123 64 0 0 0 0\n", Closed{}, "connect 64"},
		{"cut short", wrkHead + "counted 1000 1234567 3000123 0 0\n", Closed{}, "not understood"},
		{"nothing", "", Closed{}, "not understood"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := readWrk(tt.input)
			if (err != nil) != (tt.err != "") || err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Fatalf("error %v, want %q", err, tt.err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestWrkSizes(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		input Closed
		right bool
	}{
		{"bodies and heads", Closed{Requests: 10, Bytes: 10 * (1024 + 300)}, true},
		{"bodies too small", Closed{Requests: 10, Bytes: 10 * 900}, false},
		{"bodies too large", Closed{Requests: 10, Bytes: 10 * 4096}, false},
		{"no answers", Closed{}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if err := tt.input.check(1024); (err == nil) != tt.right {
				t.Errorf("error %v", err)
			}
		})
	}
}
