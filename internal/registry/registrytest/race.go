package registrytest

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/getbindu/bindu-edge/internal/registry"
	"github.com/getbindu/bindu-edge/internal/tunnel"
)

const (
	contenders = 32
	rounds     = 20
)

// contend lets many sessions claim one tunnel at once and gives the winners.
// Every loser must be told the winner, not some claim in between.
func contend(t *testing.T, r Registry, id, replacing string) []tunnel.Claim {
	t.Helper()
	var (
		mu      sync.Mutex
		won     []tunnel.Claim
		holders = make(map[tunnel.Claim]bool)
		start   = make(chan struct{})
		all     sync.WaitGroup
	)
	for i := range contenders {
		c := claimOf(id, fmt.Sprint("pod", i%4), fmt.Sprint("session", i), fmt.Sprint("instance", i))
		all.Go(func() {
			<-start
			prev, err := r.Claim(t.Context(), c, replacing)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				won = append(won, c)
				if prev.Session != replacing {
					t.Errorf("winner displaced %+v, want session %q", prev, replacing)
				}
			case errors.Is(err, registry.ErrHeld):
				holders[prev] = true
			default:
				t.Errorf("Claim: %v", err)
			}
		})
	}
	close(start)
	all.Wait()
	for h := range holders {
		if len(won) == 1 && h != won[0] {
			t.Errorf("a loser was told %+v, the winner is %+v", h, won[0])
		}
	}
	return won
}

func oneWins(t *testing.T, r Registry) {
	for i := range rounds {
		id := fmt.Sprint("tunnel", i)
		won := contend(t, r, id, "")
		if len(won) != 1 {
			t.Fatalf("round %d: %d of %d claims of a free tunnel won, want 1", i, len(won), contenders)
		}
		wantOwner(t, r, tunnel.ID(id), won[0])
	}
}

// Many newcomers have probed the same holder and found it silent: only the
// first replaces it, and is not replaced in turn.
func oneTakeOverWins(t *testing.T, r Registry) {
	for i := range rounds {
		id := fmt.Sprint("tunnel", i)
		mustClaim(t, r, claimOf(id, "pod", "ghost", ""), "")
		won := contend(t, r, id, "ghost")
		if len(won) != 1 {
			t.Fatalf("round %d: %d of %d take-overs won, want 1", i, len(won), contenders)
		}
		wantOwner(t, r, tunnel.ID(id), won[0])
	}
}
