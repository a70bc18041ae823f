package flood

import (
	"net/http"
	"net/netip"
	"time"

	"github.com/getbindu/bindu-edge/internal/fault"
)

// MaxMisses is how many requests for unknown tunnels an address may make in a
// second; then it is refused for one.
const MaxMisses = 20

// Callers counts those who look for tunnels. Make it with NewCallers.
type Callers struct {
	address func(*http.Request) netip.Addr
	misses  *Table
}

// NewCallers makes Callers; address says where a request comes from.
func NewCallers(address func(*http.Request) netip.Addr) *Callers {
	return &Callers{address: address, misses: NewTable(MaxMisses, time.Second)}
}

var errMisses = fault.New(fault.RateLimited, "Too many requests for tunnels that do not exist came from this address.") // never changed

// Miss notes that the tunnel of r is unknown.
func (c *Callers) Miss(r *http.Request) { c.misses.Add(c.address(r)) }

// Check refuses r, with a *fault.Error that all share, if its address has missed
// too often. While no address has, it costs a look at the clock.
func (c *Callers) Check(r *http.Request) error {
	if c.misses.Calm() {
		return nil
	}
	if n, _ := c.misses.Count(c.address(r)); n >= MaxMisses {
		return errMisses
	}
	return nil
}
