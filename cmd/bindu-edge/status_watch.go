package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/getbindu/bindu-edge/internal/podstatus"
)

// watchStatus shows the status until ctx ends: in place on a terminal, else
// again and again. A pod that goes away after its first answer is waited for.
func watchStatus(ctx context.Context, p *process, ask askPod, every time.Duration, asJSON bool, ends int) (err error) {
	var place *inPlace
	out := newPaper(p.stdout)
	if tty, ok := p.stdout.(*os.File); ok && !asJSON && isTerminal(tty) {
		place = &inPlace{paper: out, tty: tty}
		defer func() { err = errors.Join(err, place.end()) }()
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	var last podstatus.Status
	gone := false
	for first := true; ; first = false {
		s, raw, err := ask(ctx)
		now := time.Now()
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil && first:
			return err
		case err != nil && place != nil:
			err = place.draw(statusLines(out, last, ends), cell{err.Error(), red})
		case err != nil && gone:
			err = nil // was said
		case err != nil:
			gone = true
			_, err = fmt.Fprintf(p.stderr, "%v; waiting for it\n", err)
		default:
			gone, last = false, s
			err = showStatus(out, place, s, raw, asJSON, ends, now)
		}
		if err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

func showStatus(out *paper, place *inPlace, s podstatus.Status, raw json.RawMessage, asJSON bool, ends int, now time.Time) error {
	switch {
	case asJSON:
		var line bytes.Buffer
		if err := json.Compact(&line, raw); err != nil {
			return err
		}
		out.line(line.String())
	case place != nil:
		return place.draw(statusLines(out, s, ends), cell{now.Format(time.TimeOnly) + "; Ctrl-C ends", faint})
	default:
		out.line("--- " + now.UTC().Format(time.RFC3339))
		for _, line := range statusLines(out, s, ends) {
			out.line(line)
		}
	}
	return out.flush()
}
