package load

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Download fetches a body of size bytes on a new connection and says how long
// it took. Anything but 200 and that size is an error.
func Download(ctx context.Context, address string, size int64) (time.Duration, error) {
	return bulk(ctx, address, func(c *caller) error {
		if err := c.send(http.MethodGet, nil, 0); err != nil {
			return err
		}
		status, got, err := c.receive()
		if err == nil && (status != http.StatusOK || got != size) {
			err = fmt.Errorf("status %d and %d bytes instead of 200 and %d", status, got, size)
		}
		return err
	})
}

// Upload sends a body of size bytes on a new connection and says how long it
// took until the answer was read, which must be 200 and the count of bytes as
// text.
func Upload(ctx context.Context, address string, size int64) (time.Duration, error) {
	return bulk(ctx, address, func(c *caller) error {
		if err := c.send(http.MethodPost, zeros{}, size); err != nil {
			return err
		}
		res, err := http.ReadResponse(c.in, c.get)
		if err != nil {
			return err
		}
		defer res.Body.Close()
		text, err := io.ReadAll(io.LimitReader(res.Body, 1<<10))
		if want := strconv.FormatInt(size, 10); err == nil && (res.StatusCode != http.StatusOK || strings.TrimSpace(string(text)) != want) {
			err = fmt.Errorf("status %d and %q instead of 200 and %q", res.StatusCode, text, want)
		}
		return err
	})
}

func bulk(ctx context.Context, address string, work func(*caller) error) (time.Duration, error) {
	c, err := dialled(ctx, address)
	if err != nil {
		return 0, err
	}
	defer c.close()
	defer c.until(ctx, 0)()
	begin := time.Now()
	if err := work(c); err != nil {
		return 0, fmt.Errorf("%s: %w", address, err)
	}
	return time.Since(begin), nil
}

// dialled is a caller with its connection.
func dialled(ctx context.Context, address string) (*caller, error) {
	target, err := url.Parse(address)
	if err != nil {
		return nil, err
	}
	c, err := newCaller(target, nil)
	if err != nil {
		return nil, err
	}
	return c, c.connect(ctx)
}

// zeros is an endless body.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
