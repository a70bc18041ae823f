package edge

import (
	"bufio"
	"io"
	"log/slog"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/getbindu/bindu-edge/internal/hub"
	"github.com/getbindu/bindu-edge/internal/ingress"
	"github.com/getbindu/bindu-edge/internal/ops"
)

// An answer that is made at the last moment is sent, too: its caller may take a
// while to read it.
func TestDrainSendsItsLastAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const timeout, late, slow = 30 * time.Second, 50 * time.Millisecond, 20 * time.Millisecond
		quiet, l := slog.New(slog.DiscardHandler), newPipes()
		e := &Edge{log: quiet, hub: hub.New(hub.Options{}), health: ops.NewHealth(ops.HealthOptions{Logger: quiet})}
		e.cfg.DrainTimeout = timeout
		e.ingress = ingress.New(ingress.Options{
			Logger: quiet, Methods: []string{http.MethodGet},
			Own: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				<-time.After(timeout - late)
				w.WriteHeader(http.StatusBadGateway)
			}),
		})
		public := e.publicServer()
		go func() { _ = public.Serve(&publicListener{Listener: l, crowd: &crowd{}, stall: callerStall}) }()
		caller := l.dial(t)
		_, _ = io.WriteString(caller, "GET /held HTTP/1.1\r\nHost: edge\r\n\r\n")
		synctest.Wait()

		began, done := time.Now(), make(chan struct{})
		go func() {
			defer close(done)
			e.drain(public, func() {}, func() {})
		}()
		<-time.After(timeout - late + slow)
		res, err := http.ReadResponse(bufio.NewReader(caller), nil)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != http.StatusBadGateway {
			t.Errorf("status %d", res.StatusCode)
		}
		<-done
		if took := time.Since(began); took > timeout {
			t.Errorf("took %s", took)
		}
	})
}
