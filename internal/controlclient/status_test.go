package controlclient_test

import (
	"net/http"
	"reflect"
	"sync/atomic"
	"testing"

	"github.com/getbindu/bindu-edge/internal/controlclient"
	"github.com/getbindu/bindu-edge/internal/tunnel"
)

var statusRows = []struct {
	name                       string
	status                     int
	validate, resolve, healthy error
}{
	{"no content", 204, controlclient.ErrNonsense, controlclient.ErrNonsense, controlclient.ErrNonsense},
	{"partial content", 206, controlclient.ErrNonsense, controlclient.ErrNonsense, controlclient.ErrNonsense},
	{"moved", 301, controlclient.ErrNonsense, controlclient.ErrNonsense, controlclient.ErrNonsense},
	{"see other", 303, controlclient.ErrNonsense, controlclient.ErrNonsense, controlclient.ErrNonsense},
	{"temporary redirect", 307, controlclient.ErrNonsense, controlclient.ErrNonsense, controlclient.ErrNonsense},
	{"bad request", 400, controlclient.ErrNonsense, controlclient.ErrNonsense, controlclient.ErrNonsense},
	{"wrong token", 401, tunnel.ErrUnauthorized, controlclient.ErrNonsense, controlclient.ErrNonsense},
	{"forbidden", 403, controlclient.ErrNonsense, controlclient.ErrNonsense, controlclient.ErrNonsense},
	{"unknown", 404, tunnel.ErrUnknown, tunnel.ErrUnknown, controlclient.ErrNonsense},
	{"gone", 410, controlclient.ErrNonsense, controlclient.ErrNonsense, controlclient.ErrNonsense},
	{"unprocessable", 422, controlclient.ErrNonsense, controlclient.ErrNonsense, controlclient.ErrNonsense},
	{"too many", 429, controlclient.ErrAway, controlclient.ErrAway, controlclient.ErrAway},
	{"broken", 500, controlclient.ErrAway, controlclient.ErrAway, controlclient.ErrAway},
	{"unavailable", 503, controlclient.ErrAway, controlclient.ErrAway, controlclient.ErrAway},
	{"no status we know", 599, controlclient.ErrAway, controlclient.ErrAway, controlclient.ErrAway},
}

func TestStatuses(t *testing.T) {
	for _, row := range statusRows {
		t.Run(row.name, func(t *testing.T) {
			var asked atomic.Int32
			answer := says(row.status, `{"detail":"`+secret+`"}`)
			c := serve(t, func(w http.ResponseWriter, r *http.Request) {
				asked.Add(1)
				if r.URL.Path == "/elsewhere" {
					says(200, okValidation)(w, r)
					return
				}
				answer(w, r)
			})
			grant, err := c.Validate(t.Context(), "t", secret)
			wantError(t, "Validate", err, row.validate)
			if !reflect.ValueOf(grant).IsZero() {
				t.Errorf("Validate failed with a grant: %+v", grant)
			}
			_, err = c.Resolve(t.Context(), "slug")
			wantError(t, "Resolve", err, row.resolve)
			wantError(t, "Health", c.Health(t.Context()), row.healthy)
			if n := asked.Load(); n != 3 {
				t.Errorf("%d requests for 3 questions: a redirect was followed or a question repeated", n)
			}
		})
	}
}
