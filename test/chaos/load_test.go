package chaos

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptrace"
	"strconv"
	"sync"
	"time"

	"github.com/getbindu/bindu-edge/agent"
)

// fullRate is how many requests are made a second, whatever becomes of those
// before. A machine that can't carry it even while nothing is broken gets less if
// -least allows that: what is measured is not its speed.
const fullRate = 200

const (
	// A pod gives a body of up to this many bytes to another one when the first did
	// not want it; the caller of a larger one may be told to try again.
	mostReplayed = 64 << 10

	mostUnderWay = 2000             // more are not made: the machine is too slow
	callerWaits  = 40 * time.Second // longer than anything here may take
)

// load makes requests to random tunnels, each on a connection of its own, and
// repeats none.
type load struct {
	ledger   *ledger
	balancer *balancer
	agents   []*agentAt
	seed     uint64
	rate     int // requests a second

	number  uint64        // requests made
	since   time.Time     // of start
	spent   time.Duration // from each start to its end, in sum
	stop    context.CancelFunc
	running sync.WaitGroup // the one that makes requests
	calls   sync.WaitGroup
	slots   chan struct{}
}

func (l *load) start() {
	l.since = time.Now()
	ctx, cancel := context.WithCancel(context.Background())
	l.stop = cancel
	l.running.Go(func() { l.run(ctx) })
}

// pause makes no more requests and waits for those under way.
func (l *load) pause() {
	l.stop()
	l.running.Wait()
	l.spent += time.Since(l.since)
	l.calls.Wait()
}

// tries is how often a rate is tried: what else the machine does may pass.
const tries = 3

// begin finds the rate that the machine carries, and starts.
func (l *load) begin(ctx context.Context, least int) error {
	for rate := l.rate; rate >= max(1, min(least, fullRate)); rate /= 2 {
		l.rate = rate
		for range tries {
			l.start()
			pause(ctx, 3*time.Second)
			if len(l.slots) < rate/4 {
				return nil // answers take a quarter of a second at most, on average
			}
			l.pause()
		}
	}
	return fmt.Errorf("the machine is too slow, or too busy, for %d requests a second: nothing was broken yet, and nothing is said about the pods; -least=25 would go on with fewer than %d", l.rate, l.rate)
}

func (l *load) run(ctx context.Context) {
	random := rand.New(rand.NewPCG(l.seed, l.number))
	tick := time.NewTicker(time.Second / time.Duration(l.rate))
	defer tick.Stop()
	began := time.Now()
	for made := 0; ; {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		for due := int(time.Since(began) * time.Duration(l.rate) / time.Second); made < due; made++ {
			select {
			case l.slots <- struct{}{}:
			default:
				l.ledger.mu.Lock()
				l.ledger.skipped++
				l.ledger.mu.Unlock()
				continue
			}
			c := l.plan(random)
			l.calls.Go(func() {
				defer func() { <-l.slots }()
				l.make(c)
			})
		}
	}
}

// call is a request that is going to be made.
type call struct {
	*asked
	up, down, hold int
}

// plan chooses sizes that a JSON tunnel can carry, sometimes larger ones for
// others, and lets some requests take their time, so that faults meet them.
func (l *load) plan(random *rand.Rand) call {
	l.number++
	a := l.agents[random.IntN(len(l.agents))]
	c := call{asked: &asked{id: fmt.Sprintf("chaos-%d-%d", l.seed, l.number), tunnel: a.index, door: -1}}
	c.up, c.down, c.hold = random.IntN(4000), random.IntN(8000), random.IntN(30)
	if a.protocol == agent.H2 && random.IntN(20) == 0 {
		c.up, c.down = random.IntN(mostReplayed), random.IntN(600_000)
	}
	switch random.IntN(20) {
	case 0:
		c.hold = random.IntN(2500)
	case 1:
		c.up = 0
	}
	return c
}

func (l *load) make(c call) {
	ctx, cancel := context.WithTimeout(context.Background(), callerWaits)
	defer cancel()
	door := ""
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(i httptrace.GotConnInfo) { door = i.Conn.LocalAddr().String() }})
	up := content(c.id+" up", c.up)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+l.balancer.addr+"/local_tunnel/"+l.agents[c.tunnel].slug+"/", bytes.NewReader(up))
	if err != nil {
		l.ledger.violation("%v", err)
		return
	}
	req.GetBody = nil // the library must not repeat it either
	req.Header = http.Header{
		headerRequest: {c.id}, headerHold: {strconv.Itoa(c.hold)}, headerSize: {strconv.Itoa(c.down)},
	}
	transport := &http.Transport{DisableKeepAlives: true, DisableCompression: true, DialContext: (&net.Dialer{Timeout: callerWaits}).DialContext}
	c.begun = time.Now()
	l.ledger.begin(c.asked)
	status, code, err := 0, "", error(nil)
	res, err := transport.RoundTrip(req)
	if err == nil {
		var body []byte
		body, err = io.ReadAll(res.Body)
		_ = res.Body.Close()
		if err == nil {
			status, code = res.StatusCode, res.Header.Get("Bindu-Edge-Error")
			if status == http.StatusOK {
				err = c.compare(res, body, up)
			}
		}
	}
	l.ledger.finish(c.asked, func(a *asked) {
		a.status, a.code, a.err, a.door = status, code, err, l.balancer.door(door)
	})
}

var errMixedUp = errors.New("the answer is not that of the request")

// compare checks that an answer is the agent's to this very request.
func (c call) compare(res *http.Response, body, up []byte) error {
	switch {
	case res.Header.Get(headerAgent) != strconv.Itoa(c.tunnel):
		return fmt.Errorf("%w: agent %s answers", errMixedUp, res.Header.Get(headerAgent))
	case res.Header.Get(headerRequest) != c.id:
		return fmt.Errorf("%w: it is for %q", errMixedUp, res.Header.Get(headerRequest))
	case res.Header.Get("X-Sum") != sumOf(up):
		return fmt.Errorf("%w: the agent got another body", errMixedUp)
	case !bytes.Equal(body, content(c.id, c.down)):
		return fmt.Errorf("%w: %d bytes came that are not the %d of this request", errMixedUp, len(body), c.down)
	}
	return nil
}
