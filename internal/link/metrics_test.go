package link_test

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/getbindu/bindu-edge/internal/link"
	"github.com/getbindu/bindu-edge/test/metrictest"
)

// What is counted is of a closed list, whatever the libraries call it.
func TestBreachesAreOfAClosedList(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ name, input, want string }{
		{"of a JSON link", "message_too_large", "message_too_large"},
		{"of an H2 link", "http2", "http2"},
		{"unknown", "brewed_in_a_teapot", "other"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			registry := prometheus.NewRegistry()
			count := link.NewBreaches(registry)
			want := map[string]float64{}
			if row.want != "" {
				want[`bindu_edge_protocol_breaches_total{kind="`+row.want+`"}`] = 1
			}
			metrictest.Want(t, registry, want, func() { count(row.input) })
		})
	}
}

// Links of both protocols count.
func TestBreachesAreCounted(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	count := link.NewBreaches(registry)
	metrictest.Want(t, registry, map[string]float64{`bindu_edge_protocol_breaches_total{kind="message_not_json"}`: 1}, func() {
		l, a := meetJSON(t, link.JSONOptions{CountError: count})
		go a.closed()
		a.send("{")
		<-l.Done()
	})
	metrictest.Want(t, registry, map[string]float64{`bindu_edge_protocol_breaches_total{kind="http2"}`: 1}, func() {
		l, s := meet(t, link.Options{CountError: count})
		s.AllowIllegalWrites = true
		if err := s.WriteRawFrame(0x6, 0, 1, make([]byte, 8)); err != nil { // a PING on a stream
			t.Fatal(err)
		}
		<-l.Done()
		for range 2 {
			if r := l.Reason(); r != link.ReasonProtocol {
				t.Errorf("the link ended: %s", r)
			}
		}
	})
}

// Nothing of a link that ends as links do is a breach.
func TestNoBreach(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	count := link.NewBreaches(registry)
	metrictest.Want(t, registry, map[string]float64{}, func() {
		l, s := meet(t, link.Options{CountError: count})
		if err := s.WriteGoAway(0, 0, nil); err != nil {
			t.Fatal(err)
		}
		<-l.Leaving()
		_ = s.ws.CloseNow()
		<-l.Done()
		if r := l.Reason(); r != link.ReasonLeft {
			t.Errorf("the link ended: %s", r)
		}
	})
}

func TestReasons(t *testing.T) {
	t.Parallel()
	seen := map[link.Reason]bool{}
	normal := 0
	for _, r := range link.Reasons() {
		if r == "" || seen[r] {
			t.Errorf("%q is there twice", r)
		}
		seen[r] = true
		if r.Normal() {
			normal++
		}
	}
	for _, row := range []struct {
		name   string
		input  link.Reason
		normal bool
	}{
		{"left", link.ReasonLeft, true},
		{"moved", link.ReasonReplaced, true},
		{"asked to move", link.ReasonDraining, true},
		{"taken back", link.ReasonRevoked, true},
		{"over", link.ReasonExpired, true},
		{"lost", link.ReasonLost, false},
		{"silent", link.ReasonHeartbeat, false},
		{"breach", link.ReasonProtocol, false},
	} {
		if !seen[row.input] || row.input.Normal() != row.normal {
			t.Errorf("%s: listed %v, normal %v", row.name, seen[row.input], row.input.Normal())
		}
	}
	if normal != 5 || len(seen) != 10 {
		t.Errorf("%d of %d reasons are normal", normal, len(seen))
	}
}
