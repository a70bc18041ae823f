package load

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestReadCalls(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, input string
		want        Called
		right       bool
	}{
		{"fine", wrkHead + "counted 10 20 3000 0 0 0 0 0\nquantiles 7 90\n", Called{Closed{10, 20, 3 * time.Millisecond}, 7 * time.Microsecond, 90 * time.Microsecond}, true},
		{"wrong answers", wrkHead + "counted 10 20 3000 0 0 0 1 0\nquantiles 7 90\n", Called{}, false},
		{"no answers", wrkHead + "counted 0 0 3000 0 0 0 0 0\nquantiles 0 0\n", Called{}, false},
		{"cut short", wrkHead + "counted 10 20 3000 0 0 0 0 0\nquantiles 7", Called{}, false},
	} {
		got, err := readCalls(tt.input)
		if diff := cmp.Diff(tt.want, got); diff != "" || (err == nil) != tt.right {
			t.Errorf("%s: %v (-want +got):\n%s", tt.name, err, diff)
		}
	}
}
