package controlclient

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"github.com/getbindu/bindu-edge/internal/tunnel"
)

// tell sends what happened, and returns what was not sent.
func (r *Reports) tell(ctx context.Context, links []LinkReport) (left []LinkReport, err error) {
	for len(links) > 0 {
		encoded, err := fit(links, MaxReport)
		if err == nil {
			err = r.post(ctx, report{Links: encoded})
		}
		if err != nil {
			return links, err
		}
		links = links[len(encoded):]
	}
	return nil, nil
}

// tellAll sends the list of all links. A long one goes in parts, of which each
// says which tunnels it is about: those with ids after one and up to another.
func (r *Reports) tellAll(ctx context.Context, links []LinkReport) error {
	slices.SortFunc(links, func(a, b LinkReport) int {
		return cmp.Or(cmp.Compare(a.Tunnel, b.Tunnel), a.At.Compare(b.At)) // of two, the newer one counts
	})
	for i := range links {
		links[i].At = links[i].At.UTC()
	}
	for after := tunnel.ID(""); ; {
		encoded, err := fit(links, MaxReport)
		if err != nil {
			return err
		}
		n := len(encoded)
		for n < len(links) && n > 1 && links[n].Tunnel == links[n-1].Tunnel {
			n-- // one tunnel's links belong together
		}
		var last tunnel.ID
		if n > 0 {
			last = links[n-1].Tunnel
		}
		part := report{Full: true, After: after, Links: encoded[:n]}
		if links = links[n:]; len(links) > 0 {
			part.UpTo = last
		}
		if err := r.post(ctx, part); err != nil {
			return err
		}
		if len(links) == 0 {
			return nil
		}
		after = part.UpTo
	}
}

// report is what is sent.
type report struct {
	Pod    tunnel.PodID      `json:"pod_id"`
	Full   bool              `json:"full"`
	After  tunnel.ID         `json:"after,omitempty"`
	UpTo   tunnel.ID         `json:"up_to,omitempty"`
	Links  []json.RawMessage `json:"links"`
	Counts []json.RawMessage `json:"counts,omitempty"`
}

func (r *Reports) post(ctx context.Context, what report) error {
	what.Pod = r.opts.Pod
	body, err := json.Marshal(what)
	if err != nil {
		return err
	}
	c, began := r.opts.Client, time.Now()
	status, _, err := c.do(ctx, http.MethodPost, c.base.JoinPath("api/reports"), body, "")
	if err == nil {
		err = offered(status)
	}
	c.metrics.made(callReports, began, err)
	return err
}

// tellCounts sends what is due, as much as one report takes, and the last time
// everything. Counts go by themselves: a control plane that can't make anything of
// them shall take the rest.
func (r *Reports) tellCounts(ctx context.Context, last bool) error {
	counts := r.opts.Counts
	if counts == nil {
		return nil
	}
	for {
		due := counts.take(last)
		if len(due) == 0 {
			return nil
		}
		encoded, err := fit(due, MaxCounts)
		if err == nil {
			err = r.post(ctx, report{Links: []json.RawMessage{}, Counts: encoded})
		}
		switch {
		case errors.Is(err, errDenied) || errors.Is(err, ErrNonsense):
			counts.refused(due)
			r.denied.warn(ctx, r.opts.Logger, "the control plane does not take our counts of requests", slog.Any("error", err))
			return nil
		case err != nil:
			counts.giveBack(due)
			return err
		}
		counts.giveBack(due[len(encoded):])
		if !last {
			return nil
		}
	}
}

// fit encodes as many as one report takes.
func fit[T any](list []T, most int) ([]json.RawMessage, error) {
	size, encoded := 0, []json.RawMessage{}
	for _, one := range list[:min(len(list), most)] {
		text, err := json.Marshal(one)
		if err != nil {
			return nil, err
		}
		if size += len(text) + 1; size > maxReportSize && len(encoded) > 0 {
			break
		}
		encoded = append(encoded, text)
	}
	return encoded, nil
}
