package stage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"time"

	"github.com/getbindu/bindu-edge/bench/usage"
)

// Memory is what a process holds once its garbage is collected, in bytes.
type Memory struct {
	Before   int64 // resident, garbage included
	Resident int64
	Heap     int64 // in use
	Stacks   int64 // of goroutines
}

// Memory has the edge collect its garbage and reads what is left.
func (e *Edge) Memory(ctx context.Context) (Memory, error) {
	var m Memory
	var err error
	if m.Before, err = usage.Resident(e.PID()); err != nil {
		return Memory{}, err
	}
	var stats struct{ HeapInuse, StackInuse int64 } // of runtime.MemStats
	err = inspected(ctx, e.inspect, "/settle", func(body io.Reader) error { return json.NewDecoder(body).Decode(&stats) })
	if err != nil {
		return Memory{}, err
	}
	m.Heap, m.Stacks = stats.HeapInuse, stats.StackInuse
	m.Resident, err = usage.Resident(e.PID())
	return m, err
}

// Profile writes the edge's CPU profile over span to a file.
func (e *Edge) Profile(ctx context.Context, file string, span time.Duration) error {
	return profile(ctx, e.inspect, file, span)
}

// Profile writes the agent's CPU profile over span to a file.
func (a *Agent) Profile(ctx context.Context, file string, span time.Duration) error {
	return profile(ctx, a.inspect, file, span)
}

func profile(ctx context.Context, address, file string, span time.Duration) error {
	return inspected(ctx, address, "/profile?for="+url.QueryEscape(span.String()), func(body io.Reader) error {
		out, err := os.Create(file)
		if err != nil {
			return err
		}
		_, err = io.Copy(out, body)
		return errors.Join(err, out.Close())
	})
}

// inspected asks the inspector of a process and hands its answer to read.
func inspected(ctx context.Context, address, path string, read func(io.Reader) error) error {
	if address == "" {
		return errors.New("inspect: this process was not started for it")
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+path, nil)
	if err != nil {
		return err
	}
	res, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("inspect: %w", err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("inspect: status %d", res.StatusCode)
	}
	return read(res.Body)
}
