package controlclient

import (
	"cmp"
	"slices"
	"time"
)

// take gives what has changed since it was told, and that at least CountsEvery
// ago: as much as goes into one report, what waits longest first. The last time
// nothing has to wait.
func (c *Counts) take(last bool) []CountReport {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	c.sample(now)
	if !last && now.Before(c.next) {
		return nil
	}
	var due []tunnelMinute
	for at, m := range c.minutes {
		if m.changed && (last || now.Sub(m.told) >= CountsEvery) {
			due = append(due, at)
		}
	}
	if len(due) == 0 {
		return nil
	}
	if len(due) <= MaxCounts { // else the rest go soon
		c.next = now.Add(CountsEvery)
	}
	slices.SortFunc(due, func(a, b tunnelMinute) int {
		return cmp.Or(c.minutes[a].told.Compare(c.minutes[b].told), cmp.Compare(a.minute, b.minute), cmp.Compare(a.tunnel, b.tunnel))
	})
	due = due[:min(len(due), MaxCounts)]
	taken := make([]CountReport, len(due))
	for i, at := range due {
		m := c.minutes[at]
		m.told, m.changed = now, false
		taken[i] = CountReport{
			Tunnel: at.tunnel, Minute: time.Unix(60*at.minute, 0).UTC(),
			Requests: m.served + m.failed + m.refused, Errors: m.failed, Refused: m.refused,
		}
	}
	return taken
}

// giveBack keeps what was not told for the next time.
func (c *Counts) giveBack(left []CountReport) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range left {
		at := tunnelMinute{r.Tunnel, r.Minute.Unix() / 60}
		m := c.minutes[at]
		if m == nil { // it was over, and seemed told
			if m = c.minute(at); m == nil {
				continue
			}
			m.numbers = numbers{r.Requests - r.Errors - r.Refused, r.Errors, r.Refused}
		}
		m.told, m.changed = time.Time{}, true
	}
	if len(left) > 0 {
		c.next = time.Time{}
	}
}

// refused notes that counts, but for the reports of links, are not taken.
func (c *Counts) refused(lost []CountReport) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dropped += uint64(len(lost))
	c.next = time.Now().Add(askAgain)
}

// wanted says whether anybody asks. What nobody wants to know is not kept.
func (c *Counts) wanted(yes bool) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.unasked != yes {
		return // as it was
	}
	c.sample(time.Now())
	if c.unasked = !yes; c.unasked {
		clear(c.minutes)
	}
}

// lost is how many tunnels' minutes were not told.
func (c *Counts) lost() uint64 {
	if c == nil {
		return 0
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.dropped
}
