package telemetry

import (
	"math/rand/v2"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// sampling is OTEL_TRACES_SAMPLER: what is recorded of requests that begin their
// trace here, and whether the others' own word counts.
type sampling struct {
	root        sdktrace.Sampler
	parentBased bool
	off         bool // always_off: of nothing, whoever says so
}

// own believes parents from elsewhere if it is told to. A span below one of this
// process follows it in any case: a request is recorded whole or not at all.
func (s sampling) own() sdktrace.Sampler {
	if s.parentBased {
		return sdktrace.ParentBased(s.root)
	}
	return anew(s.root)
}

// strangers decides as for a trace that begins here. Its id is the caller's
// choice, so that nothing may follow from it.
func (s sampling) strangers() sdktrace.Sampler { return anew(fresh{s.root}) }

func (s sampling) peers() sdktrace.Sampler {
	if s.off {
		return sdktrace.NeverSample()
	}
	return sdktrace.ParentBased(s.root)
}

func anew(root sdktrace.Sampler) sdktrace.Sampler {
	return sdktrace.ParentBased(root, sdktrace.WithRemoteParentSampled(root), sdktrace.WithRemoteParentNotSampled(root))
}

// fresh samples as if the trace had another id.
type fresh struct{ sdktrace.Sampler }

func (f fresh) ShouldSample(p sdktrace.SamplingParameters) sdktrace.SamplingResult {
	p.TraceID = newTraceID()
	return f.Sampler.ShouldSample(p)
}

// newTraceID is random where samplers look, which is in its last 8 bytes.
func newTraceID() (id trace.TraceID) {
	r := rand.Uint64() //nolint:gosec // a sample, no secret
	for i := range 8 {
		id[8+i] = byte(r >> (8 * i))
	}
	id[0] = 1 // all zeros would be none
	return id
}
