package hub_test

import (
	"testing"
	"testing/synctest"

	"go.uber.org/goleak"

	"github.com/getbindu/bindu-edge/internal/fault"
	"github.com/getbindu/bindu-edge/internal/hub"
	"github.com/getbindu/bindu-edge/internal/link"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// An agent's handshake ends before its link stands: what comes in between waits,
// even where there is no grace.
func TestWaitsForALinkThatIsBeingOpened(t *testing.T) {
	tests := []struct {
		name   string
		linked bool
		want   fault.Code
	}{
		{"linked", true, ""},
		{"abandoned", false, fault.TunnelOffline},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			run(t, func(o *hub.Options) { o.Grace = 0 }, func(t *testing.T, p *pod) {
				if _, err := p.Wait(t.Context(), id); code(err) != fault.TunnelOffline {
					t.Errorf("before: %v", err)
				}
				s := p.mustOpen("")
				got := make(chan fault.Code, 1)
				go func() {
					_, err := p.Wait(t.Context(), id)
					got <- code(err)
				}()
				synctest.Wait()
				select {
				case c := <-got:
					t.Errorf("did not wait, got %q", c)
				default:
				}
				if tt.linked {
					p.serve(s, newLink("a"))
				} else {
					s.Abandon()
				}
				if c := <-got; c != tt.want {
					t.Errorf("got %q, want %q", c, tt.want)
				}
			})
		})
	}
}

// An agent that leaves with nothing in flight need not wait for its HTTP/2
// library to believe it.
func TestLeavingWithoutStreams(t *testing.T) {
	run(t, nil, func(t *testing.T, p *pod) {
		l := newLink("a")
		p.link("one", l)
		l.goaway()
		p.wantEnded(l, link.ReasonLeft)
	})
}
