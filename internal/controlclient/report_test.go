package controlclient_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/getbindu/bindu-edge/internal/controlclient"
	"github.com/getbindu/bindu-edge/internal/tunnel"
)

// desk is a control plane that takes reports, or not.
type desk struct {
	mu     sync.Mutex
	status int // 0 = 204
	got    []said
	tries  int
}

type said struct {
	Pod   string `json:"pod_id"`
	Full  bool
	After string
	UpTo  string `json:"up_to"`
	Links []controlclient.LinkReport
}

func (d *desk) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.tries++
	var s said
	if r.Method != http.MethodPost || r.URL.Path != "/api/reports" || len(body) > 1<<20 || json.Unmarshal(body, &s) != nil || s.Links == nil {
		return says2(http.StatusTeapot, "", ""), nil
	}
	if d.status != 0 {
		return says2(d.status, "", ""), nil
	}
	d.got = append(d.got, s)
	return says2(http.StatusNoContent, "", ""), nil
}

func (d *desk) answers(status int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.status = status
}

func (d *desk) read() []said {
	synctest.Wait()
	d.mu.Lock()
	defer d.mu.Unlock()
	got := d.got
	d.got = nil
	return got
}

// short is what reports say, in words.
func short(reports []said) (lines []string) {
	for _, s := range reports {
		line := s.Pod
		if s.Full {
			line += " full"
		}
		for _, l := range s.Links {
			line += fmt.Sprintf(", %s %s %s", l.Tunnel, l.State, l.Reason)
		}
		lines = append(lines, line)
	}
	return lines
}

func reporting(t *testing.T, links func() []controlclient.LinkReport, f func(t *testing.T, d *desk, r *controlclient.Reports, stop func())) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		d := &desk{}
		c, err := controlclient.New(controlclient.Options{Transport: d, Token: "key"})
		if err != nil {
			t.Fatal(err)
		}
		r := controlclient.NewReports(controlclient.ReportsOptions{Client: c, Pod: "pod", Links: links, Logger: slog.New(slog.DiscardHandler)})
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { r.Run(ctx) })
		stop := func() { cancel(); running.Wait() }
		f(t, d, r, stop)
		stop()
	})
}

func opened(id tunnel.ID) controlclient.LinkReport {
	return controlclient.LinkReport{Tunnel: id, Session: "s-" + string(id), State: controlclient.LinkConnected, At: time.Now(), Protocol: "h2"}
}

func closed(id tunnel.ID, why string) controlclient.LinkReport {
	return controlclient.LinkReport{Tunnel: id, Session: "s-" + string(id), State: controlclient.LinkClosed, At: time.Now(), Reason: why}
}

func refused(id tunnel.ID, why string) controlclient.LinkReport {
	return controlclient.LinkReport{Tunnel: id, State: controlclient.LinkRefused, At: time.Now(), Reason: why}
}

func none() []controlclient.LinkReport { return nil }

func TestReports(t *testing.T) {
	held := []controlclient.LinkReport{{Tunnel: "z", State: controlclient.LinkConnected}, {Tunnel: "a", State: controlclient.LinkConnected}}
	reporting(t, func() []controlclient.LinkReport { return held }, func(t *testing.T, d *desk, r *controlclient.Reports, stop func()) {
		want := func(when string, lines ...string) {
			t.Helper()
			if diff := cmp.Diff(lines, short(d.read())); diff != "" {
				t.Errorf("%s (-want +got):\n%s", when, diff)
			}
		}
		r.Report(opened("b"))
		time.Sleep(time.Second)
		want("at first", "pod, b connected ", "pod full, a connected , z connected ")
		r.Report(closed("b", "left"))
		r.Report(opened("c"))
		time.Sleep(time.Second)
		want("a second later", "pod, b closed left, c connected ")
		time.Sleep(57 * time.Second)
		want("while nothing happens")
		time.Sleep(4 * time.Second)
		want("after a minute", "pod full, a connected , z connected ")
		r.List()
		time.Sleep(time.Second)
		want("when asked", "pod full, a connected , z connected ")
		r.Report(closed("c", "draining"))
		stop()
		want("at the end", "pod, c closed draining")
	})
}

// While nobody takes reports they wait, and are told in order before the list.
func TestReportsAway(t *testing.T) {
	reporting(t, none, func(t *testing.T, d *desk, r *controlclient.Reports, _ func()) {
		d.answers(503)
		r.Report(opened("a"))
		r.Report(refused("r", "unauthorized"))
		time.Sleep(10 * time.Minute)
		r.Report(closed("a", "left"))
		d.mu.Lock()
		if d.tries < 20 || d.tries > 50 {
			t.Errorf("tried %d times in 10 minutes", d.tries)
		}
		d.mu.Unlock()
		d.answers(0)
		time.Sleep(31 * time.Second)
		got := short(d.read())
		if diff := cmp.Diff([]string{"pod, a connected , a closed left", "pod full"}, got[:min(len(got), 2)]); diff != "" {
			t.Errorf("reports (-want +got):\n%s", diff)
		}
		if n := r.Dropped(); n != 1 { // old refusals are of no use
			t.Errorf("%d dropped", n)
		}
	})
}

func TestReportsNotWanted(t *testing.T) {
	for _, status := range []int{404, 405, 501, 401, 403, 422} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			reporting(t, none, func(t *testing.T, d *desk, r *controlclient.Reports, _ func()) {
				d.answers(status)
				r.Report(opened("a"))
				time.Sleep(2 * time.Second)
				r.Report(opened("b")) // of no interest, or tried once
				time.Sleep(40 * time.Minute)
				d.mu.Lock()
				defer d.mu.Unlock()
				most := 10
				if status == 401 || status == 403 || status == 422 {
					most = 200
				}
				if d.tries > most || d.tries < 6 {
					t.Errorf("tried %d times in 40 minutes", d.tries)
				}
			})
		})
	}
}

// The oldest go when too many wait, and a list makes up for them.
func TestReportsOverflow(t *testing.T) {
	reporting(t, none, func(t *testing.T, d *desk, r *controlclient.Reports, _ func()) {
		time.Sleep(time.Second)
		d.read()
		for i := range 10_003 {
			r.Report(opened(tunnel.ID(fmt.Sprint("t", i))))
		}
		time.Sleep(time.Second)
		got := d.read()
		var sizes []int
		for _, s := range got {
			sizes = append(sizes, len(s.Links))
		}
		total := 0
		for _, n := range sizes {
			total += n
			if n > controlclient.MaxReport {
				t.Errorf("%d links in one report", n)
			}
		}
		last := got[len(got)-1]
		if total != 10_000 || got[0].Links[0].Tunnel != "t3" || r.Dropped() != 3 || !last.Full {
			t.Errorf("%v reported, from %s on, %d dropped, the last one full: %v", sizes, got[0].Links[0].Tunnel, r.Dropped(), last.Full)
		}
	})
}

// However often agents are refused, the control plane hears of it now and then.
func TestReportsOfRefusals(t *testing.T) {
	reporting(t, none, func(t *testing.T, d *desk, r *controlclient.Reports, _ func()) {
		time.Sleep(time.Second)
		d.read()
		for range 30 { // seconds
			for range 100 {
				r.Report(refused("one", "unauthorized"))
			}
			time.Sleep(time.Second)
		}
		r.Report(refused("one", "tunnel_revoked"))
		time.Sleep(time.Second)
		if diff := cmp.Diff([]string{"pod, one refused unauthorized", "pod, one refused tunnel_revoked"}, short(d.read())); diff != "" {
			t.Errorf("of one tunnel (-want +got):\n%s", diff)
		}
		for i := range 20_000 {
			r.Report(refused(tunnel.ID(fmt.Sprint("t", i)), "unauthorized"))
		}
		r.Report(opened("mine"))
		time.Sleep(time.Second)
		got := d.read()
		if len(got) != 1 || len(got[0].Links) > 101 || got[0].Links[0].Tunnel != "mine" {
			t.Errorf("a flood of many made %d reports, the first of %d", len(got), len(got[0].Links))
		}
		if n := r.Dropped(); n < 19_000 {
			t.Errorf("%d counted as dropped", n)
		}
	})
}

// A long list is told in parts that touch and don't overlap, and the links of
// one tunnel, oldest first, are in one part.
func TestLongList(t *testing.T) {
	var held []controlclient.LinkReport
	at := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	for i := range 12_000 {
		l := controlclient.LinkReport{Tunnel: tunnel.ID(fmt.Sprintf("t%05d", 12_000-i)), Session: "new", State: controlclient.LinkConnected, At: at}
		held = append(held, l)
		if l.Tunnel == "t05000" {
			l.Session, l.At = "old", at.Add(-time.Hour)
			held = append(held, l)
		}
	}
	reporting(t, func() []controlclient.LinkReport { return held }, func(t *testing.T, d *desk, _ *controlclient.Reports, _ func()) {
		time.Sleep(time.Second)
		total, after := 0, ""
		got := d.read()
		for i, s := range got {
			total += len(s.Links)
			if !s.Full || s.After != after || (s.UpTo == "") != (i == len(got)-1) {
				t.Errorf("part %d: full %v, after %q, up to %q", i, s.Full, s.After, s.UpTo)
			}
			after = s.UpTo
			for j, l := range s.Links {
				if string(l.Tunnel) <= s.After || (s.UpTo != "" && string(l.Tunnel) > s.UpTo) {
					t.Errorf("part %d names %s", i, l.Tunnel)
				}
				if l.Session == "old" && (j+1 == len(s.Links) || s.Links[j+1].Session != "new" || s.Links[j+1].Tunnel != l.Tunnel) {
					t.Errorf("part %d: the newer link of %s does not follow the older", i, l.Tunnel)
				}
			}
		}
		if total != len(held) || len(got) < 3 {
			t.Errorf("%d links in %d parts", total, len(got))
		}
	})
}
