package controlclient_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/getbindu/bindu-edge/internal/controlclient"
	"github.com/getbindu/bindu-edge/internal/tunnel"
)

// counter is a control plane that reads counts, and may refuse them.
type counter struct {
	mu     sync.Mutex
	status int // 0 = 204
	only   bool
	got    [][]controlclient.CountReport
	tries  int
}

func (d *counter) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	var said struct {
		Links  []controlclient.LinkReport
		Counts []controlclient.CountReport
	}
	if len(body) > 1<<20 || json.Unmarshal(body, &said) != nil || said.Links == nil || said.Counts != nil && len(said.Links) > 0 {
		return says2(http.StatusTeapot, "", ""), nil
	}
	if said.Counts != nil {
		d.tries++
	}
	if d.status != 0 && (said.Counts != nil || !d.only) {
		return says2(d.status, "", ""), nil
	}
	if said.Counts != nil {
		d.got = append(d.got, said.Counts)
	}
	return says2(http.StatusNoContent, "", ""), nil
}

func (d *counter) answers(status int, onlyCounts bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.status, d.only = status, onlyCounts
}

// read gives what has come since, a line for each report: minutes and numbers by
// tunnel.
func (d *counter) read() (lines []string) {
	synctest.Wait()
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, counts := range d.got {
		var line []string
		for _, c := range counts {
			line = append(line, fmt.Sprintf("%s %s %d-%d-%d", c.Tunnel, c.Minute.Format("15:04:05"), c.Requests, c.Errors, c.Refused))
		}
		lines = append(lines, strings.Join(line, ", "))
	}
	d.got = nil
	return lines
}

// counting runs reports with counts, in a bubble that begins at midnight.
func counting(t *testing.T, f func(t *testing.T, d *counter, c *controlclient.Counts, r *controlclient.Reports, stop func())) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		d := &counter{}
		client, err := controlclient.New(controlclient.Options{Transport: d, Token: "key"})
		if err != nil {
			t.Fatal(err)
		}
		counts := controlclient.NewCounts()
		r := controlclient.NewReports(controlclient.ReportsOptions{
			Client: client, Pod: "pod", Links: none, Counts: counts, Logger: slog.New(slog.DiscardHandler),
		})
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { r.Run(ctx) })
		stop := func() { cancel(); running.Wait() }
		f(t, d, counts, r, stop)
		stop()
	})
}

// say counts so many of each kind.
func say(tally *controlclient.Tally, served, failed, refused int) {
	for range served {
		tally.Request(false)
	}
	for range failed {
		tally.Request(true)
	}
	for range refused {
		tally.Refused()
	}
}

func TestCounts(t *testing.T) {
	t.Parallel()
	counting(t, func(t *testing.T, d *counter, c *controlclient.Counts, r *controlclient.Reports, stop func()) {
		after := func(wait time.Duration, lines ...string) {
			t.Helper()
			time.Sleep(wait)
			if diff := cmp.Diff(lines, d.read()); diff != "" {
				t.Errorf("at %s (-want +got):\n%s", time.Now().Format("15:04:05.000"), diff)
			}
		}
		time.Sleep(300 * time.Millisecond) // from now on never where a second begins
		a, b := c.Open("a"), c.Open("b")
		after(time.Second)
		say(a, 3, 2, 1)
		after(time.Second, "a 00:00:00 6-2-1")
		say(a, 1, 0, 0)
		say(b, 1, 0, 0)
		after(4 * time.Second) // once in five seconds
		after(time.Second, "b 00:00:00 1-0-0, a 00:00:00 7-2-1")
		after(time.Until(time.Now().Truncate(time.Minute).Add(59_700 * time.Millisecond)))
		say(a, 1, 0, 0)
		time.Sleep(100 * time.Millisecond)
		say(b, 0, 1, 0)
		after(550*time.Millisecond, "a 00:00:00 8-2-1, b 00:00:00 2-1-0") // in the minute in which they came
		say(a, 0, 0, 2)
		after(5*time.Second, "a 00:01:00 2-0-2")

		// A new link of the tunnel counts on, and so does what the old one has left.
		again := c.Open("a")
		a.Close()
		say(a, 1, 0, 0)
		say(again, 1, 0, 0)
		after(5*time.Second, "a 00:01:00 4-0-2")
		again.Close()
		b.Close()
		say(again, 0, 1, 0)
		after(5*time.Second, "a 00:01:00 5-1-2")
		after(10 * time.Second)
		back := c.Open("a") // everything of before is forgotten, but not the minute
		say(back, 1, 0, 0)
		after(time.Second, "a 00:01:00 6-1-2")
		say(back, 1, 0, 0)
		stop()
		after(0, "a 00:01:00 7-1-2") // the last words don't wait
		if n := r.Dropped(); n != 0 {
			t.Errorf("%d dropped", n)
		}
	})
}

// A minute that could not be told is told later, as far as anybody looks back.
func TestCountsAway(t *testing.T) {
	t.Parallel()
	counting(t, func(t *testing.T, d *counter, c *controlclient.Counts, r *controlclient.Reports, _ func()) {
		a := c.Open("a")
		time.Sleep(2 * time.Second)
		d.answers(503, false)
		for range 70 {
			say(a, 1, 0, 0)
			time.Sleep(time.Minute)
		}
		a.Close()
		d.answers(0, false)
		time.Sleep(31 * time.Second)
		got := d.read()
		if len(got) != 1 {
			t.Fatalf("%d reports", len(got))
		}
		told := strings.Split(got[0], ", ")
		if len(told) != 60 || told[0] != "a 00:10:00 1-0-0" || told[59] != "a 01:09:00 1-0-0" || r.Dropped() != 10 {
			t.Errorf("%d minutes from %q to %q, %d dropped", len(told), told[0], told[len(told)-1], r.Dropped())
		}
		time.Sleep(5 * time.Minute)
		if got := d.read(); got != nil {
			t.Errorf("told again: %q", got)
		}
	})
}

// What one report has no room for goes with the next.
func TestCountsOfMany(t *testing.T) {
	t.Parallel()
	counting(t, func(t *testing.T, d *counter, c *controlclient.Counts, _ *controlclient.Reports, stop func()) {
		const many = 2*controlclient.MaxCounts + 1
		var tallies []*controlclient.Tally
		for i := range many {
			tallies = append(tallies, c.Open(tunnel.ID(fmt.Sprintf("t%05d", i))))
		}
		tell := func(what string, wait time.Duration, sizes ...int) {
			t.Helper()
			for _, tally := range tallies {
				say(tally, 1, 0, 0)
			}
			time.Sleep(wait)
			var got []int
			for _, line := range d.read() {
				got = append(got, strings.Count(line, ",")+1)
			}
			if diff := cmp.Diff(sizes, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", what, diff)
			}
		}
		tell("at first", 4500*time.Millisecond, 5000, 5000, 1)
		tell("the next round", 4*time.Second, 5000)
		for _, tally := range tallies {
			say(tally, 1, 0, 0)
		}
		stop()
		tell("at the end", 0, 5000, 5000, 1)
	})
}

// A report has no more bytes than the control plane takes.
func TestCountsOfLongIDs(t *testing.T) {
	t.Parallel()
	counting(t, func(t *testing.T, d *counter, c *controlclient.Counts, _ *controlclient.Reports, _ func()) {
		long := strings.Repeat("x", 120)
		for i := range controlclient.MaxCounts {
			say(c.Open(tunnel.ID(fmt.Sprintf("%s%05d", long, i))), 1, 0, 0)
		}
		time.Sleep(2500 * time.Millisecond)
		got := d.read()
		total := 0
		for _, line := range got {
			total += strings.Count(line, ",") + 1
		}
		if len(got) != 2 || total != controlclient.MaxCounts {
			t.Errorf("%d counts of long ids in %d reports", total, len(got))
		}
	})
}

// Many tunnels while nobody listens: the newest minutes stay.
func TestCountsOverflow(t *testing.T) {
	t.Parallel()
	counting(t, func(t *testing.T, d *counter, c *controlclient.Counts, r *controlclient.Reports, _ func()) {
		time.Sleep(time.Second)
		d.answers(503, false)
		const most = 100
		const tunnels = most/2 + 1
		controlclient.LimitMinutes(c, most)
		for range 3 {
			for i := range tunnels {
				tally := c.Open(tunnel.ID(fmt.Sprint("t", i)))
				say(tally, 1, 0, 0)
				tally.Close()
			}
			time.Sleep(time.Minute)
		}
		if n := r.Dropped(); n != 2*tunnels {
			t.Errorf("%d dropped, want those of two minutes, %d", n, 2*tunnels)
		}
		for i := range 2 * most {
			say(c.Open(tunnel.ID(fmt.Sprint("more", i))), 1, 0, 0)
		}
		time.Sleep(time.Minute)
		if n := r.Dropped(); n != 3*tunnels+most {
			t.Errorf("%d dropped, want also those for which there is no room, %d", n, 3*tunnels+most)
		}
		d.answers(0, false)
		time.Sleep(time.Minute)
		seen := map[string]int{}
		for _, line := range d.read() {
			for count := range strings.SplitSeq(line, ", ") {
				_, at, _ := strings.Cut(count, " ")
				seen[at]++
			}
		}
		if diff := cmp.Diff(map[string]int{"00:03:00 1-0-0": most}, seen); diff != "" {
			t.Errorf("told in the end (-want +got):\n%s", diff)
		}
	})
}

// A control plane that takes reports of links but no counts gets those alone, and
// from one that takes none nothing is kept.
func TestCountsNotWanted(t *testing.T) {
	t.Parallel()
	for _, status := range []int{401, 403, 404, 422} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			t.Parallel()
			counting(t, func(t *testing.T, d *counter, c *controlclient.Counts, r *controlclient.Reports, _ func()) {
				only := status != 404
				d.answers(status, only)
				a := c.Open("a")
				for range 20 * 60 {
					say(a, 1, 0, 0)
					time.Sleep(time.Second)
				}
				d.mu.Lock()
				if only && (d.tries < 4 || d.tries > 6) || !only && d.tries != 0 {
					t.Errorf("tried %d times in 20 minutes", d.tries)
				}
				d.mu.Unlock()
				d.answers(0, false)
				time.Sleep(6 * time.Minute)
				d.read()
				say(a, 7, 0, 0)
				time.Sleep(6 * time.Second)
				if got := d.read(); len(got) != 1 || !strings.HasSuffix(got[0], " 7-0-0") {
					t.Errorf("once it takes them: %q", got)
				}
			})
		})
	}
}

func TestCountingAllocatesNothing(t *testing.T) {
	tally := controlclient.NewCounts().Open("a")
	if n := testing.AllocsPerRun(1000, func() { say(tally, 1, 1, 1) }); n != 0 {
		t.Errorf("%g allocations for three requests", n)
	}
}
