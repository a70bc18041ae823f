package h2

import (
	"context"
	"net/http/httptrace"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The trace that a request comes with goes on as before, beside ours.
func TestHandoverKeepsTheOuterTrace(t *testing.T) {
	t.Parallel()
	type key struct{}
	var got []string
	note := func(what string) func() { return func() { got = append(got, what) } }
	for _, row := range []struct {
		name  string
		input *httptrace.ClientTrace
		want  []string
	}{
		{"none", nil, nil},
		{"another hook", &httptrace.ClientTrace{Got100Continue: note("100")}, []string{"100"}},
		{"the same hook", &httptrace.ClientTrace{WroteHeaders: note("wrote"), Got100Continue: note("100")}, []string{"wrote", "100"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			got = nil
			ctx, cancel := context.WithCancel(context.WithValue(t.Context(), key{}, "kept"))
			if row.input != nil {
				ctx = httptrace.WithClientTrace(ctx, row.input)
			}
			ctx, h := watchHandover(ctx)
			if h.done.Load() {
				t.Error("handed over at once")
			}
			trace := httptrace.ContextClientTrace(ctx)
			trace.WroteHeaders()
			if trace.Got100Continue != nil {
				trace.Got100Continue()
			}
			if !h.done.Load() {
				t.Error("not handed over")
			}
			if diff := cmp.Diff(row.want, got); diff != "" {
				t.Errorf("hooks (-want +got):\n%s", diff)
			}
			if ctx.Value(key{}) != "kept" {
				t.Error("a value of the context is lost")
			}
			cancel()
			if ctx.Err() == nil {
				t.Error("the end of the context is lost")
			}
		})
	}
}
