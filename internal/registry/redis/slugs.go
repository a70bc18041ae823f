package redis

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/rueidis"

	"github.com/getbindu/bindu-edge/internal/tunnel"
)

// SlugCache shares among the pods which tunnel a slug means, so that one pod's
// question to the control plane serves them all. It never says whether the
// tunnel may be used or is held: that is decided by the pod that holds it.
type SlugCache struct{ registry *Registry }

// slugTimeout is how long a question may take: the control plane can be asked
// instead, so it is not worth a long wait.
const slugTimeout = 500 * time.Millisecond

// SlugCache returns the registry's cache of slugs.
func (r *Registry) SlugCache() *SlugCache { return &SlugCache{r} }

// Get says which tunnel the slug means, if some pod has said so within
// Options.SlugTTL, or has bound the slug to a tunnel that it holds, and for how
// long that may be believed: at most Options.SlugTTL, 0 when it is not known.
func (s *SlugCache) Get(ctx context.Context, slug tunnel.Slug) (tunnel.ID, time.Duration, error) {
	if _, err := tunnel.ParseSlug(string(slug)); err != nil {
		return "", 0, nil
	}
	type known struct {
		id   tunnel.ID
		left time.Duration
	}
	r := s.registry
	got, err := ask(ctx, r, r.quick(), func(ctx context.Context) (known, error) {
		b := r.client.B()
		answers := r.client.DoMulti(ctx, b.Get().Key(slugKey(slug)).Build(), b.Pttl().Key(slugKey(slug)).Build())
		value, err := answers[0].ToString()
		if rueidis.IsRedisNil(err) || wrongType(err) {
			return known{}, nil
		}
		if err != nil {
			return known{}, err
		}
		left, err := answers[1].AsInt64()
		if err != nil {
			return known{}, err
		}
		id, err := tunnel.ParseID(value)
		if err != nil || left <= 0 {
			return known{}, nil // whoever wrote that, it names no tunnel, or would for ever
		}
		return known{id, min(time.Duration(left)*time.Millisecond, r.opts.SlugTTL)}, nil
	})
	if err != nil {
		return "", 0, fmt.Errorf("slug in redis: %w", err)
	}
	return got.id, got.left, nil
}

// Set shares for life, and at most Options.SlugTTL, that the slug means the
// tunnel. It is not for slugs that BindSlug gives, which Redis keeps with the
// claim.
func (s *SlugCache) Set(ctx context.Context, slug tunnel.Slug, id tunnel.ID, life time.Duration) error {
	r := s.registry
	_, err := ask(ctx, r, r.quick(), func(ctx context.Context) (struct{}, error) {
		set := r.client.B().Set().Key(slugKey(slug)).Value(string(id)).Px(max(time.Millisecond, min(life, r.opts.SlugTTL))).Build()
		return struct{}{}, r.client.Do(ctx, set).Error()
	})
	if err != nil {
		return fmt.Errorf("slug in redis: %w", err)
	}
	return nil
}

// Forget drops what is shared of the slug.
func (s *SlugCache) Forget(ctx context.Context, slug tunnel.Slug) error {
	r := s.registry
	_, err := ask(ctx, r, r.quick(), func(ctx context.Context) (struct{}, error) {
		return struct{}{}, r.client.Do(ctx, r.client.B().Del().Key(slugKey(slug)).Build()).Error()
	})
	if err != nil {
		return fmt.Errorf("slug in redis: %w", err)
	}
	return nil
}

func (r *Registry) quick() question {
	return question{call: callSlug, timeout: min(slugTimeout, r.opts.Timeout)}
}
