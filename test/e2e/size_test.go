package e2e

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"net/http"
	"sync"
	"testing"
	"time"
)

// hashed reads to the end through h, 256 KiB at a time.
func hashed(h hash.Hash, r io.Reader) (int64, error) {
	return io.CopyBuffer(struct{ io.Writer }{h}, struct{ io.Reader }{r}, make([]byte, 256<<10))
}

// sizes is an origin of large bodies: GET /n sends n bytes with their sum as a
// trailer, POST answers with the sum of what it got.
func sizes(w http.ResponseWriter, r *http.Request) {
	h := sha256.New()
	if r.Method == http.MethodPost {
		n, err := hashed(h, r.Body)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		_, _ = fmt.Fprintf(w, "%d %x", n, h.Sum(nil))
		return
	}
	var size int64
	if _, err := fmt.Sscanf(r.URL.Path, "/%d", &size); err != nil {
		echo(w, r)
		return
	}
	w.Header().Set("Trailer", "X-Sum")
	if _, err := hashed(h, io.TeeReader(newPattern(size), w)); err != nil {
		panic(http.ErrAbortHandler)
	}
	w.Header().Set("X-Sum", hex.EncodeToString(h.Sum(nil)))
}

// A gigabyte passes each way, whole, and none of it stays in memory.
// It is measured, so it has the machine to itself.
func TestGigabyte(t *testing.T) {
	const size, allowed = 1 << 30, 80_000_000
	w := startPlainWorld(t, http.HandlerFunc(sizes), "MAX_REQUEST_BODY_BYTES=0")
	for _, test := range []struct {
		name string
		send func(t *testing.T)
	}{
		{"download", func(t *testing.T) {
			res, err := client.Do(request(t.Context(), t, http.MethodGet, w.url(fmt.Sprint("/", size)), nil))
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = res.Body.Close() }()
			h := sha256.New()
			n, err := hashed(h, res.Body)
			if got := hex.EncodeToString(h.Sum(nil)); err != nil || n != size || got != res.Trailer.Get("X-Sum") {
				t.Errorf("%d bytes came, %v; sums %s and %s", n, err, got, res.Trailer.Get("X-Sum"))
			}
		}},
		{"upload", func(t *testing.T) {
			h := sha256.New()
			req := request(t.Context(), t, http.MethodPost, w.url("/"), io.TeeReader(newPattern(size), h))
			req.ContentLength = size
			if got, want := do(t, req), fmt.Sprintf("%d %x", size, h.Sum(nil)); got.body != want {
				t.Errorf("got %d %s, want %s", got.StatusCode, got.body, want)
			}
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			w.edge.forgetPeak()
			w.agent.forgetPeak()
			began := time.Now()
			test.send(t)
			took := time.Since(began)
			for _, p := range []*process{w.edge.process, w.agent} {
				peak := p.memory("VmHWM")
				t.Logf("%s: %.1f s, the %s had at most %d MB", test.name, took.Seconds(), p.Name, peak/1_000_000)
				if peak > allowed {
					t.Errorf("the %s had %d MB, allowed are %d", p.Name, peak/1_000_000, allowed/1_000_000)
				}
			}
		})
	}
}

// Ten thousand small requests pass beside one huge download without harm to
// either. The caller of the download takes a part whenever some of the small
// ones are done, so both go on to the end.
// It wants both cores, so it has the machine to itself.
func TestSmallBesideHuge(t *testing.T) {
	const requests, at, parts, part = 10_000, 32, 250, mib
	w := startPlainWorld(t, http.HandlerFunc(sizes))
	turns := make(chan struct{}, requests)
	huge := make(chan error, 1)
	req := request(t.Context(), t, http.MethodGet, w.url(fmt.Sprint("/", parts*part)), nil)
	go func() {
		huge <- func() error {
			res, err := client.Do(req)
			if err != nil {
				return err
			}
			defer func() { _ = res.Body.Close() }()
			h := sha256.New()
			for range parts {
				for range requests / parts {
					<-turns
				}
				if n, err := hashed(h, io.LimitReader(res.Body, part)); err != nil || n != part {
					return fmt.Errorf("a part has %d bytes: %w", n, err)
				}
			}
			if n, err := hashed(h, res.Body); err != nil || n != 0 {
				return fmt.Errorf("%d bytes after the end: %w", n, err)
			}
			if got := hex.EncodeToString(h.Sum(nil)); got != res.Trailer.Get("X-Sum") {
				return fmt.Errorf("the sum is %s, sent was %s", got, res.Trailer.Get("X-Sum"))
			}
			return nil
		}()
	}()

	pool := &http.Client{Transport: &http.Transport{MaxConnsPerHost: at, MaxIdleConnsPerHost: at}}
	t.Cleanup(pool.CloseIdleConnections)
	began := time.Now()
	var working sync.WaitGroup
	for worker := range at {
		working.Go(func() {
			for i := worker; i < requests && !t.Failed(); i += at {
				path := fmt.Sprint("/small/", i)
				if err := small(pool, w.url(path), path); err != nil {
					t.Errorf("request %d: %v", i, err)
				}
				turns <- struct{}{}
			}
		})
	}
	working.Wait()
	t.Logf("%d small requests took %.1f s", requests, time.Since(began).Seconds())
	if err := receive(t, "the end of the download", huge); err != nil {
		t.Errorf("the download: %v", err)
	}
}

// small makes a request of echo and checks its answer.
func small(c *http.Client, url, path string) error {
	res, err := c.Get(url)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	if res.StatusCode != http.StatusOK || string(body) != "0:" || res.Header.Get("X-Uri") != path {
		return fmt.Errorf("got %d %q for %q", res.StatusCode, body, res.Header.Get("X-Uri"))
	}
	return nil
}
