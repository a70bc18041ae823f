package edge

import (
	"net/http"
	"strings"

	"github.com/getbindu/bindu-edge/internal/attach"
	"github.com/getbindu/bindu-edge/internal/fault"
	"github.com/getbindu/bindu-edge/internal/ops"
)

// own answers what is for the pod itself. It stands before no mux: that would
// redirect paths that it thinks unclean.
type own struct {
	attach *attach.Handler
	health *ops.Health
	full   func(*http.Request) error
}

func (o own) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := r.URL.EscapedPath() // as it was sent
	switch {
	case path == "/health/live":
		o.health.Live(w, r)
	case path == "/health/ready":
		o.health.Ready(w, r)
	case path == "/ws" || isTunnelPath(path): // agents have a cap of their own
		if r.Method != http.MethodGet {
			fault.Write(w, r, &fault.Error{Code: fault.MethodNotAllowed, Detail: "Agents connect with GET.", Header: http.Header{"Allow": {http.MethodGet}}})
			return
		}
		o.attach.ServeHTTP(w, r)
	default:
		if err := o.full(r); err != nil {
			w.Header().Set("Connection", "close")
			fault.Write(w, r, fault.From(err))
			return
		}
		fault.Write(w, r, fault.New(fault.NotFound, "Nothing is served at this path. Tunnels are at /local_tunnel/{slug}/."))
	}
}

// isTunnelPath matches /ws/{tunnel_id}.
func isTunnelPath(path string) bool {
	id, ok := strings.CutPrefix(path, "/ws/")
	return ok && id != "" && !strings.Contains(id, "/")
}
