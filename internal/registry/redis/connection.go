package redis

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

	"github.com/getbindu/bindu-edge/internal/redisclient"
	"github.com/getbindu/bindu-edge/internal/registry"
)

const (
	// How often an idle connection is tried. One that is dead and does not know
	// it is given up after this and Options.Timeout.
	pingEvery = time.Second
	// Scripts and answers are small; rueidis would take half a megabyte for each.
	bufferSize = 64 << 10
)

// dialer opens connections and counts them: a new one may lead to a Redis that
// has forgotten everything.
type dialer struct {
	count   atomic.Int64
	era     *atomic.Int64 // of what was told on one connection
	primary redisclient.Primary
}

func (d *dialer) dial(ctx context.Context, addr string, nd *net.Dialer, config *tls.Config) (net.Conn, error) {
	d.count.Add(1)
	d.era.Add(1)
	return d.primary.Dial(ctx, addr, nd, config)
}

func connect(o Options, d *dialer, v *view) (rueidis.Client, error) {
	address := net.JoinHostPort(o.Host, strconv.Itoa(o.Port))
	d.primary, d.era = redisclient.Primary{Address: address, Master: o.SentinelMaster}, &v.era
	return redisclient.New(rueidis.ClientOption{
		InitAddress: []string{address},
		SelectDB:    o.DB, Username: o.Username, Password: o.Password, TLSConfig: o.TLS,
		ClientName: "bindu-edge", ClientSetInfo: rueidis.DisableClientSetInfo,
		DialCtxFn: d.dial,
		Dialer:    net.Dialer{Timeout: redisclient.DialTimeout, KeepAlive: pingEvery},

		ForceSingleClient:   true, // one primary; also: a client comes back though it could not dial
		PipelineMultiplex:   -1,   // one connection, so that what is sent later happens later
		AlwaysPipelining:    true, // reads when idle too, and so notices a Redis that went away
		DisableCache:        true, // view is ours: it may be read without asking rueidis, which may have to connect first
		OnInvalidations:     v.invalidated,
		DisableRetry:        true, // deadlines are short; who asks may ask again
		ConnWriteTimeout:    o.Timeout,
		ReadBufferEachConn:  bufferSize,
		WriteBufferEachConn: bufferSize,
	})
}

// question is how to ask.
type question struct {
	call    call
	timeout time.Duration
	insist  bool // ask although Redis is known to be away

	// settle is told what came of it, also when whoever asked has left: sent is
	// false if Redis can't have heard the question.
	settle func(sent bool, err error)
}

// ask runs send in a goroutine of its own and waits for it, for ctx or for the
// timeout. The goroutine is needed because rueidis looks at no context while it
// connects or while its queue is full; it lasts little longer than the timeout,
// there are at most maxQuestions, and Close waits for them. send does not end
// with ctx: what is on its way to Redis can't be called back, so its answer is
// wanted even if the one who asked has left.
func ask[T any](ctx context.Context, r *Registry, q question, send func(context.Context) (T, error)) (T, error) {
	var none T
	settle := q.settle
	if settle == nil {
		settle = func(bool, error) {}
	}
	if err := r.admit(ctx, q); err != nil {
		settle(false, err)
		return none, err
	}
	type answer struct {
		value T
		err   error
	}
	answers := make(chan answer, 1)
	detached, cancel := context.WithTimeout(context.WithoutCancel(ctx), q.timeout)
	go func() {
		defer r.running.Done()
		defer func() { <-r.slots }()
		defer cancel()
		began := time.Now()
		value, err := send(detached)
		err = r.heard(err)
		r.metrics.made(q.call, began, err)
		settle(true, err)
		answers <- answer{value, err}
	}()
	select {
	case a := <-answers:
		return a.value, a.err
	case <-ctx.Done():
		return none, ctx.Err()
	case <-detached.Done():
	}
	select { // both may have been ready
	case a := <-answers:
		return a.value, a.err
	default:
		return none, fmt.Errorf("%w: no answer within %v", registry.ErrAway, q.timeout)
	}
}

// admit takes a slot, and counts the goroutine that will have it as running.
func (r *Registry) admit(ctx context.Context, q question) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if !q.insist && !r.gate.admits(time.Now()) {
		r.metrics.refused(q.call)
		return fmt.Errorf("%w: it did not answer a moment ago", registry.ErrAway)
	}
	select {
	case r.slots <- struct{}{}:
	default:
		wait := time.NewTimer(q.timeout)
		defer wait.Stop()
		select {
		case r.slots <- struct{}{}:
		case <-ctx.Done():
			return ctx.Err()
		case <-wait.C:
			r.metrics.refused(q.call)
			return fmt.Errorf("%w: %d questions are under way", registry.ErrAway, maxQuestions)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		<-r.slots
		return fmt.Errorf("%w: this pod has said goodbye to it", registry.ErrAway)
	}
	r.running.Add(1)
	return nil
}

// direct is ask for Run and Close, which are nobody's deadline.
func (r *Registry) direct(ctx context.Context, call call, send func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, r.opts.Timeout)
	defer cancel()
	began := time.Now()
	err := r.heard(send(ctx))
	r.metrics.made(call, began, err)
	return err
}

// heard puts what rueidis says into the registry's words, and notes whether
// Redis answered. A missing key is no failure.
func (r *Registry) heard(err error) error {
	if err == nil || rueidis.IsRedisNil(err) {
		r.gate.answered()
		return nil
	}
	if _, spoke := errors.AsType[*rueidis.RedisError](err); spoke {
		r.gate.answered()
	} else if !errors.Is(err, context.Canceled) {
		r.gate.failed(time.Now())
	}
	return fmt.Errorf("%w: %w", registry.ErrAway, err)
}

// wrongType reports that a key is there and of a type that we never write under
// its name: whoever did, it says nothing to us.
func wrongType(err error) bool {
	e, spoke := errors.AsType[*rueidis.RedisError](err)
	return spoke && strings.HasPrefix(e.Error(), "WRONGTYPE")
}
