package edge

import (
	"errors"
	"testing"

	"github.com/getbindu/bindu-edge/internal/relay"
	"github.com/getbindu/bindu-edge/internal/relay/bus/bustest"
)

// What a pod's end looks like on a bus: nobody answers, or its listener is closed
// and its agents are on their way. Its requests wait for them, as over TCP, where
// the connection is refused.
func TestGoneOverABus(t *testing.T) {
	t.Parallel()
	b := &bustest.Memory{}
	from, closing := bustest.NewPod(t, b, "test"), bustest.NewPod(t, b, "test")
	if err := closing.Listener().Close(); err != nil {
		t.Fatal(err)
	}
	dialer := overBus{from.Carrier}
	if _, err := dialer.Dial(t.Context(), closing.ID); !errors.Is(err, relay.ErrGone) {
		t.Errorf("a pod that has closed its listener: %v", err)
	}
	if _, err := dialer.Dial(t.Context(), "nobody-00000000"); !errors.Is(err, relay.ErrGone) {
		t.Errorf("a pod that is not there: %v", err)
	}
	if _, err := dialer.Dial(t.Context(), ""); err == nil || errors.Is(err, relay.ErrGone) {
		t.Errorf("no pod at all: %v", err)
	}
}
