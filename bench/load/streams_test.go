package load

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/getbindu/bindu-edge/bench/origin"
)

func start(t *testing.T, h http.Handler) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

func TestBulk(t *testing.T) {
	t.Parallel()
	url := start(t, origin.Handler())
	if took, err := Download(t.Context(), url+"/64k", 64<<10); err != nil || took <= 0 {
		t.Errorf("download: %v, %v", took, err)
	}
	if took, err := Upload(t.Context(), url+"/upload", 3<<20+1); err != nil || took <= 0 {
		t.Errorf("upload: %v, %v", took, err)
	}
	if _, err := Download(t.Context(), url+"/64k", 64<<10+1); err == nil {
		t.Error("a download of another size is no error")
	}
	if _, err := Download(t.Context(), url+"/unknown", 19); err == nil {
		t.Error("a download with status 404 is no error")
	}
	if _, err := Upload(t.Context(), url+"/unknown", 1); err == nil {
		t.Error("an upload with status 404 is no error")
	}
	short := start(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, 5) }))
	if _, err := Upload(t.Context(), short, 6); err == nil {
		t.Error("an upload of which less arrived is no error")
	}
}

func TestEvents(t *testing.T) {
	t.Parallel()
	url := start(t, origin.Handler())
	delays, err := Events(t.Context(), url+"/events?n=20&every=1ms", 3, 20)
	if err != nil || delays.Count() != 60 {
		t.Fatalf("%d events, %v", delays.Count(), err)
	}
	if delays.Quantile(1) > time.Minute {
		t.Errorf("an event was on its way for %v", delays.Quantile(1))
	}
	for _, tt := range []struct{ name, path, want string }{
		{"too few", "/events?n=19&every=1ms", "19 events instead of 20"},
		{"too many", "/events?n=21&every=1ms", "21 events instead of 20"},
		{"status", "/events?n=x", "status 400"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if _, err := Events(t.Context(), url+tt.path, 1, 20); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
}

// A silent caller has asked, and is there until it is closed.
func TestSilence(t *testing.T) {
	t.Parallel()
	asked, left := make(chan string, 3), make(chan struct{}, 3)
	url := start(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		asked <- r.URL.Path
		<-r.Context().Done()
		left <- struct{}{}
	}))
	s, err := Silence(t.Context(), url+"/256m", 3)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if got := <-asked; got != "/256m" {
			t.Errorf("asked for %q", got)
		}
	}
	if len(left) > 0 {
		t.Error("a caller left by itself")
	}
	s.Close()
	for range 3 {
		<-left
	}
}
