package flood_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/getbindu/bindu-edge/internal/fault"
	"github.com/getbindu/bindu-edge/internal/flood"
)

// The numbers that the documents promise, met from outside: whoever changes one
// has to change it there, too.

func from(addr string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.RemoteAddr = addr
	return r
}

func address(r *http.Request) netip.Addr { return netip.MustParseAddr(r.RemoteAddr) }

func limited(err error) bool {
	e, ok := errors.AsType[*fault.Error](err)
	return ok && e.Code == fault.RateLimited
}

func TestMissesInASecond(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name   string
		misses int
		want   bool
	}{
		{"below", 19, false},
		{"at", 20, true},
		{"above", 21, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c := flood.NewCallers(address)
				r := from("192.0.2.7")
				for range row.misses {
					c.Miss(r)
				}
				if err := c.Check(r); limited(err) != row.want {
					t.Errorf("after %d misses: %v", row.misses, err)
				}
				<-time.After(time.Second)
				if err := c.Check(r); err != nil {
					t.Errorf("a second later: %v", err)
				}
			})
		})
	}
}

func TestFailuresInAMinute(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name     string
		failures int           // before the last one
		took     time.Duration // the last one
		refused  bool          // what comes next
	}{
		{"below the slow ones", 18, 0, false},
		{"the last at once", 19, 0, false},
		{"the first slow one", 20, time.Second, false},
		{"below the last", 38, time.Second, false},
		{"the last", 39, time.Second, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				a := flood.NewAgents(flood.AgentsOptions{Address: address})
				r, wrong := from("192.0.2.7"), fault.New(fault.Unauthorized, "wrong")
				for range row.failures {
					a.Tried(r, wrong)
				}
				began := time.Now()
				if a.Tried(r, wrong); time.Since(began) != row.took {
					t.Errorf("answered after %s, want %s", time.Since(began), row.took)
				}
				if err := a.Check(r); limited(err) != row.refused {
					t.Errorf("the next: %v", err)
				}
				<-time.After(time.Minute)
				if err := a.Check(r); err != nil {
					t.Errorf("a minute later: %v", err)
				}
			})
		})
	}
}
