package admission

import (
	"context"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/maypok86/otter/v2"
	"golang.org/x/time/rate"

	"github.com/getbindu/bindu-edge/internal/tunnel"
)

// used is what requests have used of a tunnel's rate, whichever link they took.
type used struct {
	Limits
	rate *rate.Limiter // nil = no limit
}

// MaxUsed bounds of how many tunnels it is known when their link has ended. Of more
// the oldest begin anew.
const MaxUsed = 10_000

func newUsed() *otter.Cache[tunnel.ID, used] {
	return otter.Must(&otter.Options[tunnel.ID, used]{
		MaximumSize: MaxUsed,
		Executor:    func(upkeep func()) { upkeep() }, // on the writer's goroutine: none is left running
	})
}

// used is what an earlier link of the tunnel has left: who connects again gets no
// second burst.
func (g *Guard) used(id tunnel.ID) used {
	u, _ := g.rated.GetIfPresent(id)
	return u
}

func (g *Guard) note(id tunnel.ID, u used) {
	if u.rate != nil {
		g.rated.Set(id, u)
	} else {
		g.rated.Invalidate(id)
	}
}

// limiter is full, but for what has been used of the one before it: a change
// refills nothing.
func limiter(old *rate.Limiter, l Limits) *rate.Limiter {
	if l.RPS <= 0 {
		return nil
	}
	next := rate.NewLimiter(rate.Limit(l.RPS), l.burst())
	if old != nil {
		now := time.Now()
		used := math.Ceil(float64(old.Burst()) - old.TokensAt(now))
		next.AllowN(now, int(min(max(used, 0), float64(l.burst()))))
	}
	return next
}

// untilNext is how long the tunnel's rate makes the next request wait. It takes
// nothing.
func (in *rules) untilNext(now time.Time) time.Duration {
	missing := 1 - in.rate.TokensAt(now)
	return time.Duration(min(max(missing/in.RPS, 0), longest) * float64(time.Second))
}

// The fields of draft-ietf-httpapi-ratelimit-headers (10, and as 11 words it),
// and the names of our policies in them. A bucket of q requests that is full again
// after w seconds is told as q in w; r of them are left, and after t seconds there
// is one more. A caller has no need of a partition key: all it is told is its own.
const (
	headerPolicy = "Ratelimit-Policy"
	headerRate   = "Ratelimit"
	nameTunnel   = `"default"`
	nameCaller   = `"caller"`
)

// policy is the value of RateLimit-Policy; nil without a rate.
func (l Limits) policy() []string {
	var text []byte
	add := func(name string, rps float64, burst int) {
		text = listItem(text, name)
		text = strconv.AppendInt(append(text, ";q="...), int64(burst), 10)
		text = strconv.AppendInt(append(text, ";w="...), wholeSeconds(float64(burst)/rps), 10)
	}
	if l.RPS > 0 {
		add(nameTunnel, l.RPS, l.burst())
	}
	if l.CallerRPS > 0 {
		add(nameCaller, l.CallerRPS, secondsWorth(l.CallerRPS))
	}
	if text == nil {
		return nil
	}
	return []string{string(text)}
}

// tell adds both fields to h, beside those of the agent's server.
func (g *Gate) tell(ctx context.Context, in *rules, h http.Header) {
	var text []byte
	add := func(name string, left int, next float64) {
		text = listItem(text, name)
		text = strconv.AppendInt(append(text, ";r="...), int64(left), 10)
		text = strconv.AppendInt(append(text, ";t="...), wholeSeconds(next), 10)
	}
	if in.rate != nil {
		tokens := min(max(in.rate.TokensAt(time.Now()), 0), float64(in.burst()))
		left := math.Floor(tokens)
		add(nameTunnel, int(left), (left+1-tokens)/in.RPS)
	}
	if in.CallerRPS > 0 {
		every, burst := everyOf(in.CallerRPS), secondsWorth(in.CallerRPS)
		left, full := g.guard.rates.left(g.key(tunnel.Caller(ctx), requests), every, burst)
		add(nameCaller, left, owed(int64(full), every, burst-left).Seconds())
	}
	h[headerPolicy] = append(h[headerPolicy], in.policy...)
	h[headerRate] = append(h[headerRate], string(text))
}

// listItem begins a member of a List (RFC 9651, section 3.1).
func listItem(text []byte, name string) []byte {
	if text != nil {
		text = append(text, ", "...)
	}
	return append(text, name...)
}

// wholeSeconds rounds up, but not for the last digits of a division, and keeps to
// what an Integer may be (RFC 9651, section 3.3.1).
func wholeSeconds(s float64) int64 {
	return int64(min(max(math.Ceil(s-1e-6), 1), 999_999_999_999_999))
}
