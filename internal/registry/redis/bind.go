package redis

import (
	"context"
	"fmt"
	"time"

	"github.com/getbindu/bindu-edge/internal/registry"
	"github.com/getbindu/bindu-edge/internal/tunnel"
)

// BindSlug gives the tunnel of c a slug for as long as it is held, in place of
// the one that it had. It refuses with registry.ErrLost when c does not hold
// the tunnel, and with registry.ErrSlugTaken when another tunnel has the slug.
func (r *Registry) BindSlug(ctx context.Context, slug tunnel.Slug, c tunnel.Claim) error {
	return r.BindSlugFor(ctx, slug, c, 0)
}

// BindSlugFor is BindSlug for an agent that has its slug again when it comes back:
// SlugOf says so while the agent of c holds the tunnel, and for that long after it
// was released. A release that is made up for later has less time left, or none.
func (r *Registry) BindSlugFor(ctx context.Context, slug tunnel.Slug, c tunnel.Claim, after time.Duration) error {
	if err := r.check(c); err != nil {
		return fmt.Errorf("bind slug: %w", err)
	}
	if _, err := tunnel.ParseSlug(string(slug)); err != nil {
		return fmt.Errorf("bind slug: %w", err)
	}
	v, err := ask(ctx, r, question{call: callSlug, timeout: r.opts.Timeout}, func(ctx context.Context) (verdict, error) {
		v, err := r.run(ctx, bindScript, c, string(slug), whole(after))
		if err == nil && v.what == verdictOwn {
			r.book.bind(c, slug, after)
		}
		return v, err
	})
	switch {
	case err != nil:
	case v.what == verdictHeld:
		err = registry.ErrLost
	case v.what == verdictTaken:
		err = registry.ErrSlugTaken
	}
	if err != nil {
		return fmt.Errorf("bind slug: %w", err)
	}
	return nil
}

// Slug says which held tunnel was given the slug with BindSlug, if one was.
func (r *Registry) Slug(ctx context.Context, slug tunnel.Slug) (tunnel.ID, bool, error) {
	if _, err := tunnel.ParseSlug(string(slug)); err != nil {
		return "", false, nil
	}
	id, err := ask(ctx, r, question{call: callSlug, timeout: r.opts.Timeout}, func(ctx context.Context) (tunnel.ID, error) {
		name, ok, err := r.get(ctx, slugKey(slug))
		if err != nil || !ok {
			return "", err
		}
		e, err := r.entry(ctx, tunnel.ID(name))
		if err != nil || e.slug != slug {
			return "", err
		}
		return e.claim.Tunnel, nil
	})
	if err != nil {
		return "", false, fmt.Errorf("tunnel of slug: %w", err)
	}
	return id, id != "", nil
}

// SlugOf says which slug the agent of an instance may have again, if BindSlugFor
// has said so of one: that of its newest tunnel, if it has several.
func (r *Registry) SlugOf(ctx context.Context, instance string) (tunnel.Slug, bool, error) {
	if instance == "" {
		return "", false, nil
	}
	slug, err := ask(ctx, r, question{call: callSlug, timeout: r.opts.Timeout}, func(ctx context.Context) (tunnel.Slug, error) {
		value, ok, err := r.get(ctx, agentKey(instance))
		if err != nil || !ok {
			return "", err
		}
		slug, err := tunnel.ParseSlug(value)
		if err != nil {
			return "", nil // whoever wrote that, it is none
		}
		return slug, nil
	})
	if err != nil {
		return "", false, fmt.Errorf("slug of agent: %w", err)
	}
	return slug, slug != "", nil
}
