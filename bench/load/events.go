package load

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Events opens streams of server-sent events at once and reads each to its end.
// The data of an event is the time of its sending in ns since 1970, by the
// clock of this machine; what is returned is how long events were on their way.
// A stream that has another number of events than n is an error.
func Events(ctx context.Context, address string, streams, n int) (*Histogram, error) {
	parts, errs := make([]Histogram, streams), make([]error, streams)
	var reading sync.WaitGroup
	for i := range streams {
		reading.Go(func() { errs[i] = readEvents(ctx, address, n, &parts[i]) })
	}
	reading.Wait()
	all := &Histogram{}
	for i := range parts {
		if errs[i] != nil {
			return nil, fmt.Errorf("%s: %w", address, errs[i])
		}
		all.Add(&parts[i])
	}
	return all, nil
}

func readEvents(ctx context.Context, address string, n int, delays *Histogram) error {
	c, err := dialled(ctx, address)
	if err != nil {
		return err
	}
	defer c.close()
	defer c.until(ctx, 0)()
	if err := c.send(http.MethodGet, nil, 0); err != nil {
		return err
	}
	res, err := http.ReadResponse(c.in, c.get)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("status %d", res.StatusCode)
	}
	lines := bufio.NewScanner(res.Body)
	for lines.Scan() {
		text, ok := strings.CutPrefix(lines.Text(), "data: ")
		if !ok {
			continue
		}
		now := time.Now().UnixNano()
		sent, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return fmt.Errorf("an event without its time: %w", err)
		}
		delays.Record(time.Duration(now - sent))
	}
	if err := lines.Err(); err != nil {
		return err
	}
	if got := delays.Count(); got != uint64(n) {
		return fmt.Errorf("%d events instead of %d", got, n)
	}
	return nil
}
