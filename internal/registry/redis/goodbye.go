package redis

import (
	"context"
	"strings"
)

// sayGoodbye removes all keys of this pod.
func (r *Registry) sayGoodbye(ctx context.Context) error {
	if err := r.releaseLeaving(ctx); err != nil {
		return err
	}
	// Claims whose answer never came are in the pod's set and in no book.
	if err := r.reconcile(ctx, false); err != nil {
		return err
	}
	pod := r.opts.Pod
	err := r.direct(ctx, callGoodbye, func(ctx context.Context) error {
		return r.client.Do(ctx, r.client.B().Del().Key(podKey(pod), podTunnelsKey(pod)).Build()).Error()
	})
	if err != nil {
		return err
	}
	return r.tidy(ctx)
}

// scanRounds bounds the look around of tidy, to some hundred thousand keys.
const scanRounds = 256

// tidy removes the notes of tunnels that may be back (lost:…) when no pod is left
// that could serve them. Else they lapse by themselves, within the grace.
func (r *Registry) tidy(ctx context.Context) error {
	var notes []string
	var cursor uint64
	for range scanRounds {
		var keys []string
		err := r.direct(ctx, callGoodbye, func(ctx context.Context) error {
			page, err := r.client.Do(ctx, r.client.B().Scan().Cursor(cursor).Count(1000).Build()).AsScanEntry()
			cursor, keys = page.Cursor, page.Elements
			return err
		})
		if err != nil {
			return err
		}
		for _, key := range keys {
			switch {
			case strings.HasPrefix(key, podKey("")) && !strings.HasSuffix(key, ":tunnels"):
				return nil // somebody is there
			case strings.HasPrefix(key, lostKey("")):
				notes = append(notes, key)
			}
		}
		if cursor == 0 {
			break
		}
	}
	if cursor != 0 || len(notes) == 0 {
		return nil
	}
	return r.direct(ctx, callGoodbye, func(ctx context.Context) error {
		return r.client.Do(ctx, r.client.B().Del().Key(notes...).Build()).Error()
	})
}
