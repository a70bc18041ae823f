package route_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/getbindu/bindu-edge/internal/fault"
	"github.com/getbindu/bindu-edge/internal/route"
	"github.com/getbindu/bindu-edge/internal/tunnel"
)

// A tunnel that is not linked here: where its requests go, by what the registry
// and the pods say. Nobody is expected back.
func TestNotLinkedHere(t *testing.T) {
	for _, row := range []struct {
		name  string
		owner []answer
		now   []answer // nil = the same
		tries map[tunnel.PodID][]try
		code  fault.Code
		hops  []tunnel.PodID
		asked []string
	}{
		{
			name: "held elsewhere", owner: []answer{{pod: there}}, tries: map[tunnel.PodID][]try{there: {answers}},
			hops: []tunnel.PodID{there}, asked: []string{"owner"},
		},
		{
			name: "held by nobody", owner: []answer{{}}, code: fault.TunnelOffline,
			asked: []string{"owner", "expected", "owner", "expected"},
		},
		{
			name: "nobody can say", owner: []answer{{err: errPlain}}, code: fault.RegistryUnavailable,
			asked: []string{"owner"},
		},
		{
			name: "held here, by a link that is gone", owner: []answer{{pod: here}}, code: fault.TunnelOffline,
			asked: []string{"owner", "now"},
		},
		{
			name: "held here is old news", owner: []answer{{pod: here}}, now: []answer{{pod: there}},
			tries: map[tunnel.PodID][]try{there: {answers}}, hops: []tunnel.PodID{there}, asked: []string{"owner", "now"},
		},
		{
			name: "held here is old news, and nobody can say more", owner: []answer{{pod: here}}, now: []answer{{err: errPlain}},
			code: fault.RegistryUnavailable, asked: []string{"owner", "now"},
		},
		{
			name: "held elsewhere is old news", owner: []answer{{pod: there}}, now: []answer{{pod: other}},
			tries: map[tunnel.PodID][]try{there: {fails(misdirected)}, other: {answers}},
			hops:  []tunnel.PodID{there, other}, asked: []string{"owner", "now"},
		},
		{
			name: "held elsewhere is old news: nobody holds it", owner: []answer{{pod: there}, {}}, now: []answer{{}},
			tries: map[tunnel.PodID][]try{there: {fails(misdirected)}},
			code:  fault.TunnelOffline, hops: []tunnel.PodID{there}, asked: []string{"owner", "now", "expected", "owner", "expected"},
		},
		{
			name: "held elsewhere is old news, and nobody can say more", owner: []answer{{pod: there}}, now: []answer{{err: errPlain}},
			tries: map[tunnel.PodID][]try{there: {fails(misdirected)}},
			code:  fault.RegistryUnavailable, hops: []tunnel.PodID{there}, asked: []string{"owner", "now"},
		},
		{
			name: "the pod has a newer claim", owner: []answer{{pod: there, session: "one"}}, now: []answer{{pod: there, session: "two"}},
			tries: map[tunnel.PodID][]try{there: {fails(misdirected), answers}},
			hops:  []tunnel.PodID{there, there}, asked: []string{"owner", "now"},
		},
		{
			name: "the pod that has the claim knows nothing of it", owner: []answer{{pod: there}},
			tries: map[tunnel.PodID][]try{there: {fails(misdirected)}},
			code:  fault.TunnelOffline, hops: []tunnel.PodID{there}, asked: []string{"owner", "now", "owner"},
		},
		{
			name: "the pod says that it is here, and so does the registry", owner: []answer{{pod: there}}, now: []answer{{pod: here}, {pod: here}},
			tries: map[tunnel.PodID][]try{there: {fails(misdirected)}},
			code:  fault.TunnelOffline, hops: []tunnel.PodID{there}, asked: []string{"owner", "now", "now"},
		},
		{
			name: "two pods point at each other", owner: []answer{{pod: there}},
			now:   []answer{{pod: other}, {pod: there}, {pod: other}, {pod: there}, {pod: other}},
			tries: map[tunnel.PodID][]try{there: {fails(misdirected)}, other: {fails(misdirected)}},
			code:  fault.TunnelOffline, hops: []tunnel.PodID{there, other, there, other}, asked: []string{"owner", "now", "now", "now"},
		},
		{
			name: "the pod does not answer in time", owner: []answer{{pod: there}},
			tries: map[tunnel.PodID][]try{there: {fails(timeout), answers}},
			code:  fault.RelayUnavailable, hops: []tunnel.PodID{there}, asked: []string{"owner", "owner"},
		},
		{
			name: "the pod does not answer in time, and the agent has left it", owner: []answer{{pod: there}, {pod: other}},
			tries: map[tunnel.PodID][]try{there: {fails(timeout)}, other: {answers}},
			hops:  []tunnel.PodID{there, other}, asked: []string{"owner", "owner"},
		},
		{
			name: "the pod does not answer in time, and nobody holds it any more", owner: []answer{{pod: there}, {}},
			tries: map[tunnel.PodID][]try{there: {fails(timeout)}},
			code:  fault.TunnelOffline, hops: []tunnel.PodID{there}, asked: []string{"owner", "owner", "expected", "owner", "expected"},
		},
		{
			name: "no pod can be reached that has it", owner: []answer{{pod: there}, {pod: other}},
			tries: map[tunnel.PodID][]try{there: {fails(timeout)}, other: {fails(timeout)}},
			code:  fault.RelayUnavailable, hops: []tunnel.PodID{there, other}, asked: []string{"owner", "owner", "owner"},
		},
		{
			name: "the connection had just ended", owner: []answer{{pod: there}},
			tries: map[tunnel.PodID][]try{there: {fails(left), answers}},
			hops:  []tunnel.PodID{there, there}, asked: []string{"owner", "owner"},
		},
		{
			// Asking for certain would fail now, and make the registry forget.
			name: "the connection had just ended, and the registry is away", owner: []answer{{pod: there}}, now: []answer{{err: errPlain}},
			tries: map[tunnel.PodID][]try{there: {fails(left), answers}},
			hops:  []tunnel.PodID{there, there}, asked: []string{"owner", "owner"},
		},
		{
			name: "connections end again and again", owner: []answer{{pod: there}},
			tries: map[tunnel.PodID][]try{there: {fails(left)}},
			code:  fault.RelayUnavailable, hops: []tunnel.PodID{there, there, there, there}, asked: []string{"owner", "owner", "owner", "owner"},
		},
		{
			name: "the tunnel has too many requests there", owner: []answer{{pod: there}},
			tries: map[tunnel.PodID][]try{there: {fails(full), answers}},
			code:  fault.ConcurrencyLimited, hops: []tunnel.PodID{there}, asked: []string{"owner"},
		},
		{
			name: "the pod was lost in the middle", owner: []answer{{pod: there}},
			tries: map[tunnel.PodID][]try{there: {fails(lost), answers}},
			code:  fault.LinkLost, hops: []tunnel.PodID{there}, asked: []string{"owner"},
		},
		{
			name: "the pod is gone and the tunnel elsewhere", owner: []answer{{pod: there}}, now: []answer{{pod: other}},
			tries: map[tunnel.PodID][]try{there: {fails(gone)}, other: {answers}},
			hops:  []tunnel.PodID{there, other}, asked: []string{"owner", "now"},
		},
	} {
		for _, withBody := range []bool{true, false} {
			t.Run(row.name, func(t *testing.T) {
				registry := &fakeRegistry{owner: row.owner, now: row.now}
				peers := &fakePeers{tries: cloned(row.tries)}
				r := route.New(route.Options{Pod: here, Hub: fakeHub{}, Registry: registry, Peers: peers, Grace: grace})
				req, body := request(t, withBody)
				res, err := r.Route(id).RoundTrip(req)
				if got := code(err); got != row.code {
					t.Errorf("got %v, want %q", err, row.code)
				}
				if diff := cmp.Diff(row.hops, peers.hops); diff != "" {
					t.Errorf("hops (-want +got):\n%s", diff)
				}
				if diff := cmp.Diff(row.asked, registry.asked); diff != "" {
					t.Errorf("questions to the registry (-want +got):\n%s", diff)
				}
				if withBody && body.closed != 1 {
					t.Errorf("the body was closed %d times", body.closed)
				}
				if err == nil {
					if got, _ := io.ReadAll(res.Body); withBody && string(got) != upload {
						t.Errorf("the agent got %q", got)
					}
				} else if body.Len() != len(upload) {
					t.Error("the body was read in vain")
				}
			})
		}
	}
}

// cloned keeps the rows of a table as they are.
func cloned(tries map[tunnel.PodID][]try) map[tunnel.PodID][]try {
	c := map[tunnel.PodID][]try{}
	for pod, list := range tries {
		c[pod] = append([]try(nil), list...)
	}
	return c
}

// Without a way to other pods there is nothing to wait for.
func TestNoWayToOtherPods(t *testing.T) {
	for _, expected := range []bool{false, true} {
		registry := &fakeRegistry{owner: []answer{{pod: there}}, left: []answer{{expected: grace}}}
		h := fakeHub{look: func() (http.RoundTripper, bool, <-chan struct{}) { return nil, expected, make(chan struct{}) }}
		req, body := request(t, true)
		_, err := route.New(route.Options{Pod: here, Hub: h, Registry: registry, Grace: grace}).Route(id).RoundTrip(req)
		if code(err) != fault.RelayUnavailable || body.closed != 1 {
			t.Errorf("got %v, body closed %d times; want relay_unavailable", err, body.closed)
		}
	}
}

// What a hop has taken of the body is there for the next one, if it could be kept.
func TestSecondHopOfAReadBody(t *testing.T) {
	for name, err := range map[string]error{"misdirected": misdirected, "gone": gone, "left": left} {
		for _, large := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, large %v", name, large), func(t *testing.T) {
				peers := &fakePeers{tries: map[tunnel.PodID][]try{there: {failsAfterAByte(err), answers}, other: {answers}}}
				registry := &fakeRegistry{owner: []answer{{pod: there}}, now: []answer{{pod: other}}}
				req, body := request(t, true)
				if large {
					req, body = largeRequest(t)
				}
				res, got := route.New(route.Options{Pod: here, Hub: fakeHub{}, Registry: registry, Peers: peers, Grace: grace}).Route(id).RoundTrip(req)
				if body.closed != 1 {
					t.Errorf("the body was closed %d times", body.closed)
				}
				switch {
				case large && (!errors.Is(got, err) || len(peers.hops) != 1):
					t.Errorf("got %v after %d hops, want %v after one", got, len(peers.hops), err)
				case !large && (got != nil || len(peers.hops) != 2 || text(t, res) != upload):
					t.Errorf("got %v after %d hops, want the whole upload after two", got, len(peers.hops))
				}
			})
		}
	}
}

// A link that comes to this pod between two attempts gets the next one.
func TestLinkedHereAfterAHop(t *testing.T) {
	found := []http.RoundTripper{nil, try(answers)}
	h := fakeHub{find: func() http.RoundTripper { next := found[0]; found = found[1:]; return next }}
	peers := &fakePeers{tries: map[tunnel.PodID][]try{there: {fails(misdirected)}}}
	registry := &fakeRegistry{owner: []answer{{pod: there}}}
	req, _ := request(t, true)
	if _, err := route.New(route.Options{Pod: here, Hub: h, Registry: registry, Peers: peers}).Route(id).RoundTrip(req); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff([]string{"owner"}, registry.asked); diff != "" {
		t.Error(diff)
	}
}

// What is known of a tunnel comes from several answers. An agent that comes
// between two of them is not overlooked.
func TestTheAgentComesBetweenTwoAnswers(t *testing.T) {
	t.Run("to this pod, before the registry answers", func(t *testing.T) {
		looks := 0
		h := fakeHub{look: func() (http.RoundTripper, bool, <-chan struct{}) {
			if looks++; looks == 1 {
				return nil, false, nil
			}
			return try(answers), true, nil
		}}
		registry := &fakeRegistry{owner: []answer{{pod: here}}}
		req, _ := request(t, true)
		if _, err := route.New(route.Options{Pod: here, Hub: h, Registry: registry}).Route(id).RoundTrip(req); err != nil {
			t.Error(err)
		}
	})
	t.Run("to another pod, whose claim ends the expectation", func(t *testing.T) {
		registry := &fakeRegistry{owner: []answer{{}, {pod: there}}, left: []answer{{}}}
		peers := &fakePeers{tries: map[tunnel.PodID][]try{there: {answers}}}
		req, _ := request(t, true)
		if _, err := route.New(route.Options{Pod: here, Hub: fakeHub{}, Registry: registry, Peers: peers}).Route(id).RoundTrip(req); err != nil {
			t.Error(err)
		}
	})
	t.Run("to another pod, while this request waits", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			registry := &fakeRegistry{owner: []answer{{}, {}, {pod: there}}, left: []answer{{expected: grace}, {}}}
			peers := &fakePeers{tries: map[tunnel.PodID][]try{there: {answers}}}
			req, _ := request(t, true)
			if _, err := route.New(route.Options{Pod: here, Hub: fakeHub{}, Registry: registry, Peers: peers}).Route(id).RoundTrip(req); err != nil {
				t.Error(err)
			}
		})
	})
}

// The registry's word on the return is needed only for waiting.
func TestNobodyCanSayWhetherItIsExpected(t *testing.T) {
	registry := &fakeRegistry{left: []answer{{err: errPlain}}}
	req, _ := request(t, false)
	_, err := route.New(route.Options{Pod: here, Hub: fakeHub{}, Registry: registry, Grace: grace}).Route(id).RoundTrip(req)
	if code(err) != fault.TunnelOffline {
		t.Errorf("got %v, want tunnel_offline", err)
	}
}

// A caller that leaves while the registry is asked is told why it left.
func TestTheCallerLeavesDuringTheLookUp(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	h := fakeHub{look: func() (http.RoundTripper, bool, <-chan struct{}) { cancel(errLeft); return nil, false, nil }}
	req, body := request(t, true)
	_, err := route.New(route.Options{Pod: here, Hub: h, Registry: &fakeRegistry{}}).Route(id).RoundTrip(req.WithContext(ctx))
	if !errors.Is(err, errLeft) || body.closed != 1 {
		t.Errorf("got %v, body closed %d times; want the context's cause", err, body.closed)
	}
}

// When a pod is gone its agents are on their way to another one, which the
// registry may hear of before the lease lapses, or after.
func TestPodIsGone(t *testing.T) {
	type later struct {
		after time.Duration
		owner answer
	}
	for _, row := range []struct {
		name  string
		grace time.Duration
		then  []later
		took  time.Duration
		code  fault.Code
	}{
		{"for good", grace, nil, grace, fault.RelayUnavailable},
		{"for good, and there is no grace", 0, nil, 0, fault.RelayUnavailable},
		{"its tunnel turns up elsewhere", grace, []later{{1250 * time.Millisecond, answer{pod: other}}}, 1300 * time.Millisecond, ""},
		{"its lease lapses, then its tunnel turns up elsewhere", grace, []later{{time.Second, answer{}}, {3 * time.Second, answer{pod: other}}}, 3 * time.Second, ""},
		{"its lease lapses, and its tunnel turns up nowhere", grace, []later{{time.Second, answer{}}}, grace, fault.TunnelOffline},
		{"its tunnel is back too late", grace, []later{{grace + time.Second, answer{pod: other}}}, grace, fault.RelayUnavailable},
		{"the registry goes away too", grace, []later{{time.Second, answer{err: errPlain}}}, time.Second, fault.RegistryUnavailable},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				registry := &fakeRegistry{owner: []answer{{pod: there}}}
				peers := &fakePeers{tries: map[tunnel.PodID][]try{there: {fails(gone)}, other: {answers}}}
				r := route.New(route.Options{Pod: here, Hub: fakeHub{}, Registry: registry, Peers: peers, Grace: row.grace})
				for _, change := range row.then {
					time.AfterFunc(change.after-1, func() { // before the poll of that moment
						registry.mu.Lock()
						defer registry.mu.Unlock()
						registry.owner = []answer{change.owner}
					})
				}
				req, body := request(t, true)
				began := time.Now()
				_, err := r.Route(id).RoundTrip(req)
				if took := time.Since(began); code(err) != row.code || took != row.took {
					t.Errorf("got %v after %v, want %q after %v", err, took, row.code, row.took)
				}
				if body.closed != 1 {
					t.Errorf("the body was closed %d times", body.closed)
				}
				<-time.After(2 * grace) // every change has come
			})
		})
	}
}

// The grace runs from the moment at which the pod was first found gone, for all.
func TestPodIsGoneForAllAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		registry := &fakeRegistry{owner: []answer{{pod: there}}}
		peers := &fakePeers{tries: map[tunnel.PodID][]try{there: {fails(gone)}}}
		r := route.New(route.Options{Pod: here, Hub: fakeHub{}, Registry: registry, Peers: peers, Grace: grace})
		waits := func(want time.Duration) {
			t.Helper()
			req, _ := request(t, false)
			began := time.Now()
			_, err := r.Route(id).RoundTrip(req)
			if took := time.Since(began); code(err) != fault.RelayUnavailable || took != want {
				t.Errorf("got %v after %v, want relay_unavailable after %v", err, took, want)
			}
		}
		first := make(chan struct{})
		go func() { defer close(first); waits(grace) }()
		<-time.After(2 * time.Second)
		waits(grace - 2*time.Second)
		<-first
		waits(0)
		waits(0)

		// A pod that was away for its peers only is no longer gone.
		peers.mu.Lock()
		peers.tries[there] = []try{answers, fails(gone)}
		peers.mu.Unlock()
		req, _ := request(t, false)
		if _, err := r.Route(id).RoundTrip(req); err != nil {
			t.Fatal(err)
		}
		waits(grace)
	})
}
