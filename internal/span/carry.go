package span

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"

	"go.opentelemetry.io/otel/codes"
)

// Carry ends the step with what came of its request: at once when that is an
// error, else when the answer's body is closed, that of an upgraded connection
// included. It returns what it was given.
func (s Span) Carry(ctx context.Context, res *http.Response, err error) (*http.Response, error) {
	if s.of == nil {
		return res, err
	}
	gone := func() error {
		if ctx.Err() == nil {
			return nil
		}
		return ctx.Err()
	}
	if err != nil {
		why := err
		if cause := gone(); cause != nil {
			why = cause
		}
		s.End(why)
		return nil, err
	}
	s.Status(res.StatusCode)
	if res.Body == nil || res.Body == http.NoBody {
		s.End(nil)
		return res, nil
	}
	b := &body{ReadCloser: res.Body, span: s, gone: gone}
	res.Body = b
	if stream, ok := b.ReadCloser.(duplex); ok {
		res.Body = &upgraded{b, stream}
	}
	return res, nil
}

// Status notes the answer's status. From 500 on it counts as a failure.
func (s Span) Status(status int) {
	if s.of == nil {
		return
	}
	s.of.SetAttributes(KeyStatus.Int(status))
	if status >= http.StatusInternalServerError {
		s.of.SetStatus(codes.Error, "")
	}
}

// body ends the span of the step that it is the answer of.
type body struct {
	io.ReadCloser
	span Span
	gone func() error // why whoever asked is not there any more, if so

	mu    sync.Mutex // Close may be called during a Read
	whole bool       // read to its end
	err   error      // that a Read has met
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil {
		b.mu.Lock()
		defer b.mu.Unlock()
		if errors.Is(err, io.EOF) {
			b.whole = true
		} else if b.err == nil {
			b.err = err
		}
	}
	return n, err
}

func (b *body) Close() error {
	err := b.ReadCloser.Close()
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.whole {
		b.span.End(nil)
	} else if why := b.gone(); why != nil {
		b.span.End(why)
	} else {
		b.span.End(b.err)
	}
	return err
}

// duplex is the body of a 101.
type duplex interface {
	io.ReadWriteCloser
	CloseWrite() error
}

type upgraded struct {
	*body
	stream duplex
}

func (u *upgraded) Write(p []byte) (int, error) { return u.stream.Write(p) }
func (u *upgraded) CloseWrite() error           { return u.stream.CloseWrite() }
