package load

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

const small = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

// served dials a server in memory that answers the n-th request of all (from 0)
// with the text of answer, and closes the connection where it is empty.
func served(t *testing.T, answer func(n int64) string) func(context.Context) (net.Conn, error) {
	var count atomic.Int64
	var serving sync.WaitGroup
	t.Cleanup(serving.Wait)
	return func(context.Context) (net.Conn, error) {
		near, far := net.Pipe()
		serving.Go(func() {
			defer far.Close()
			in := bufio.NewReader(far)
			for {
				if _, err := http.ReadRequest(in); err != nil {
					return
				}
				text := answer(count.Add(1) - 1)
				if _, err := io.WriteString(far, text); text == "" || err != nil {
					return
				}
			}
		})
		return near, nil
	}
}

func runFake(t *testing.T, o Options) *Result {
	t.Helper()
	o.URL, o.Size = "http://origin.test/1k", 2
	r, err := run(t.Context(), o, time.Sleep)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestLatencyAndRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := runFake(t, Options{Conns: 4, Rate: 100, For: 2 * time.Second, Dial: served(t, func(int64) string {
			time.Sleep(5 * time.Millisecond) // the time that an answer takes, by the bubble's clock
			return small
		})})
		if err := r.Err(); err != nil {
			t.Error(err)
		}
		if r.Latency.Count() != 200 || r.Latency.Quantile(0) != 5*time.Millisecond || r.Latency.Quantile(1) != 5*time.Millisecond {
			t.Errorf("%d answers between %v and %v, want 200 of 5 ms", r.Latency.Count(), r.Latency.Quantile(0), r.Latency.Quantile(1))
		}
		if want := 1990*time.Millisecond + 5*time.Millisecond; r.Took != want {
			t.Errorf("took %v, want %v", r.Took, want)
		}
		if got := r.Rate(); got < 100 || got > 101 {
			t.Errorf("%.2f answers/s", got)
		}
	})
}

// A server that stands still for one second of ten holds up a tenth of the
// requests. A generator that counts from the sending would see one slow answer
// of a thousand, and a p99 of a millisecond.
func TestStallShows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := runFake(t, Options{Conns: 1, Rate: 100, For: 10 * time.Second, Dial: served(t, func(n int64) string {
			if n == 500 {
				time.Sleep(time.Second)
			}
			return small
		})})
		if err := r.Err(); err != nil || r.Latency.Count() != 1000 {
			t.Fatalf("%d answers, %v", r.Latency.Count(), err)
		}
		if p50 := r.Latency.Quantile(0.5); p50 > 2*time.Millisecond {
			t.Errorf("p50 %v: half of the requests met no stall", p50)
		}
		if p99 := r.Latency.Quantile(0.99); p99 < 850*time.Millisecond || p99 > time.Second {
			t.Errorf("p99 %v: of 100 requests that were due in the stall, ten waited more than 900 ms", p99)
		}
	})
}

// Another status than 200 may be the right one, and the size of no matter.
func TestRefusalsAreAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		refused := served(t, func(n int64) string {
			return fmt.Sprintf("HTTP/1.1 429 No\r\nContent-Length: %d\r\n\r\n%s", n, strings.Repeat("x", int(n)))
		})
		r, err := run(t.Context(), Options{URL: "http://origin.test/", Size: -1, Status: 429, Conns: 1, Rate: 10, For: time.Second, Dial: refused}, time.Sleep)
		if err != nil || r.Err() != nil || r.Latency.Count() != 10 {
			t.Errorf("%v, %v", r, err)
		}
		r = runFake(t, Options{Status: 429, Conns: 1, Rate: 10, For: time.Second, Dial: served(t, func(int64) string { return small })})
		if r.Errors["status 200"] != 10 {
			t.Errorf("%v", r.Errors)
		}
	})
}

func TestErrorsByKind(t *testing.T) {
	tests := []struct {
		name  string
		input func(n int64) string
		want  map[string]int
	}{
		{"all right", func(int64) string { return small }, map[string]int{}},
		{"status", func(n int64) string {
			return strings.Replace(small, "200", fmt.Sprint(500+2*(n%2)), 1)
		}, map[string]int{"status 500": 10, "status 502": 10}},
		{"size", func(int64) string { return "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\no" }, map[string]int{"size": 20}},
		{"broken off, every other time", func(n int64) string {
			if n%2 == 0 {
				return ""
			}
			return small
		}, map[string]int{"read": 10}},
		{"half an answer", func(int64) string { return small[:len(small)-1] }, map[string]int{"timeout": 20}},
		{"no HTTP", func(int64) string { return "SSH-2.0-OpenSSH\r\n\r\n" }, map[string]int{"read": 20}},
		{"never sent: one that takes half a minute holds up the rest", func(int64) string {
			time.Sleep(30 * time.Second)
			return small
		}, map[string]int{"timeout": 3, "not sent": 17}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := Options{Conns: 1, Rate: 10, For: 2 * time.Second, Timeout: 100 * time.Millisecond, Dial: served(t, tt.input)}
				if strings.HasPrefix(tt.name, "never sent") {
					o.Timeout = 1500 * time.Millisecond
				}
				r := runFake(t, o)
				if diff := cmp.Diff(tt.want, r.Errors); diff != "" {
					t.Errorf("errors (-want +got):\n%s", diff)
				}
				wrong := 0
				for _, n := range tt.want {
					wrong += n
				}
				if got, want := r.Latency.Count(), uint64(20-wrong); got != want {
					t.Errorf("%d answers counted, want %d", got, want)
				}
				if (r.Err() != nil) != (wrong > 0) {
					t.Errorf("error %v", r.Err())
				}
			})
		})
	}
}

// A connection that can't be opened again is an error of its requests, not of
// the run.
func TestConnectionRefusedLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dial := served(t, func(int64) string { return "" })
		opened := 0
		r := runFake(t, Options{Conns: 1, Rate: 10, For: time.Second, Dial: func(ctx context.Context) (net.Conn, error) {
			if opened++; opened > 1 {
				return nil, errors.New("refused")
			}
			return dial(ctx)
		}})
		if diff := cmp.Diff(map[string]int{"read": 1, "connect": 9}, r.Errors); diff != "" {
			t.Errorf("errors (-want +got):\n%s", diff)
		}
	})
}

func TestRunEndsWithContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		begin := time.Now()
		_, err := run(ctx, Options{
			URL: "http://origin.test/", Conns: 2, Rate: 1000, For: time.Hour,
			Dial: served(t, func(int64) string { time.Sleep(time.Minute); return small }),
		}, time.Sleep)
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v", err)
		}
		if took := time.Since(begin); took > 1100*time.Millisecond {
			t.Errorf("ended after %v", took)
		}
	})
}

func TestWrongOptions(t *testing.T) {
	t.Parallel()
	good := Options{URL: "http://h/", Conns: 1, Rate: 10, For: time.Second}
	tests := []struct {
		name  string
		input func(*Options)
	}{
		{"no URL", func(o *Options) { o.URL = "" }},
		{"a URL that is none", func(o *Options) { o.URL = "http://%zz/" }},
		{"https", func(o *Options) { o.URL = "https://h/" }},
		{"no connection", func(o *Options) { o.Conns = 0 }},
		{"no request", func(o *Options) { o.For = 0 }},
		{"nobody there", func(o *Options) {
			o.Dial = func(context.Context) (net.Conn, error) { return nil, errors.New("refused") }
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			o := good
			tt.input(&o)
			if r, err := Run(t.Context(), o); err == nil {
				t.Errorf("no error: %+v", r)
			}
		})
	}
}
