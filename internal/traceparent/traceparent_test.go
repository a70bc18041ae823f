package traceparent

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/trace"
)

const (
	traceID = "0af7651916cd43dd8448eb211c80319c"
	spanID  = "b7ad6b7169203331"
	plain   = "00-" + traceID + "-" + spanID + "-"
)

func TestValidAndSampled(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name           string
		input          []string
		valid, sampled bool
	}{
		{"sampled", []string{plain + "01"}, true, true},
		{"not sampled", []string{plain + "00"}, true, false},
		{"other flags alone", []string{plain + "fe"}, true, false},
		{"other flags too", []string{plain + "ff"}, true, true},
		{"random and sampled", []string{plain + "03"}, true, true},
		{"a later version", []string{"cc-" + traceID + "-" + spanID + "-01"}, true, true},
		{"a later version with more", []string{"cc-" + traceID + "-" + spanID + "-01-more"}, true, true},
		{"a later version with more, not set off", []string{"cc-" + traceID + "-" + spanID + "-01more"}, false, false},
		{"version 00 with more", []string{plain + "01-more"}, false, false},
		{"version ff", []string{"ff-" + traceID + "-" + spanID + "-01"}, false, false},
		{"no version", []string{"0x-" + traceID + "-" + spanID + "-01"}, false, false},
		{"trace id of zeros", []string{"00-" + strings.Repeat("0", 32) + "-" + spanID + "-01"}, false, false},
		{"span id of zeros", []string{"00-" + traceID + "-" + strings.Repeat("0", 16) + "-01"}, false, false},
		{"upper case", []string{strings.ToUpper(plain + "01")}, false, false},
		{"no hexadecimal trace id", []string{"00-" + traceID[:31] + "g-" + spanID + "-01"}, false, false},
		{"no hexadecimal span id", []string{"00-" + traceID + "-" + spanID[:15] + "g-01"}, false, false},
		{"no hexadecimal flags", []string{plain + "g1"}, false, false},
		{"another separator", []string{"00_" + traceID + "-" + spanID + "-01"}, false, false},
		{"too short", []string{plain + "0"}, false, false},
		{"two", []string{plain + "01", plain + "01"}, false, false},
		{"empty", []string{""}, false, false},
		{"none", nil, false, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			h := http.Header{Field: row.input}
			if got := Valid(row.input); got != row.valid {
				t.Errorf("Valid is %v", got)
			}
			if got := Sampled(h); got != row.sampled {
				t.Errorf("Sampled is %v", got)
			}
			c, ok := Parse(h)
			if ok != row.valid || c.IsValid() != row.valid || c.IsSampled() != row.sampled {
				t.Errorf("Parse gives %v, %+v", ok, c)
			}
			if ok && (c.TraceID().String() != traceID || c.SpanID().String() != spanID || !c.IsRemote()) {
				t.Errorf("Parse gives %+v", c)
			}
		})
	}
}

// A tracestate that is too long or wrong is lost, the trace is not.
func TestTracestate(t *testing.T) {
	t.Parallel()
	// Two members, since one may have 256 bytes at most.
	full := "a=" + strings.Repeat("x", 254) + ",b=" + strings.Repeat("y", 253)
	if len(full) != maxState {
		t.Fatalf("%d bytes", len(full))
	}
	for _, row := range []struct {
		name  string
		input []string
		want  string
	}{
		{"none", nil, ""},
		{"one", []string{"a=1"}, "a=1"},
		{"two members", []string{"a=1,b=2"}, "a=1,b=2"},
		{"two lines", []string{"a=1", "b=2"}, "a=1,b=2"},
		{"512 bytes", []string{full}, full},
		{"513 bytes", []string{full + "y"}, ""},
		{"512 bytes in two lines", strings.Split(full, ","), full},
		{"513 bytes in two lines", strings.Split(full+"y", ","), ""},
		{"33 members", []string{strings.TrimSuffix(manyMembers(33), ",")}, ""},
		{"no list", []string{"nonsense"}, ""},
		{"the same key twice", []string{"a=1,a=2"}, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			c, ok := Parse(http.Header{Field: {plain + "01"}, State: row.input})
			if got := c.TraceState().String(); !ok || got != row.want {
				t.Errorf("Parse gives %v, %q, want %q", ok, got, row.want)
			}
		})
	}
}

func manyMembers(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(string(rune('a'+i/26)) + string(rune('a'+i%26)) + "=1,")
	}
	return b.String()
}

// What comes goes on as it was, but for flags that nobody here can vouch for.
func TestFormat(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ name, input, want string }{
		{"sampled", plain + "01", plain + "01"},
		{"not sampled", plain + "00", plain + "00"},
		{"a random id", plain + "03", plain + "03"},
		{"unknown flags", plain + "fd", plain + "01"},
		{"a later version", "cc-" + traceID + "-" + spanID + "-01-more", plain + "01"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			c, _ := Parse(http.Header{Field: {row.input}})
			if got := Format(c); got != row.want || !Valid([]string{got}) {
				t.Errorf("%q becomes %q, want %q", row.input, got, row.want)
			}
		})
	}
}

// Set leaves nothing of another parent.
func TestSet(t *testing.T) {
	t.Parallel()
	state, err := trace.ParseTraceState("c=3")
	if err != nil {
		t.Fatal(err)
	}
	c, _ := Parse(http.Header{Field: {plain + "01"}})
	for _, row := range []struct {
		name  string
		input trace.SpanContext
		want  http.Header
	}{
		{"without a state", c, http.Header{Field: {plain + "01"}, "X": {"y"}}},
		{"with a state", c.WithTraceState(state), http.Header{Field: {plain + "01"}, State: {"c=3"}, "X": {"y"}}},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			h := http.Header{Field: {"one", "two"}, State: {"a=1", "b=2"}, "X": {"y"}}
			Set(h, row.input)
			if diff := cmp.Diff(row.want, h); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
