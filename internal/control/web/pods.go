package web

import (
	"net/http"
	"time"

	"github.com/getbindu/bindu-edge/internal/control"
)

// podView is an edge pod that reports.
type podView struct {
	control.Pod
	State state
}

func (s *Site) pods(w http.ResponseWriter, r *http.Request, v *visit) error {
	all, err := v.plane.Pods(r.Context())
	if err != nil {
		return err
	}
	now := time.Now()
	list := make([]podView, 0, len(all))
	for _, p := range all {
		st := state{"online", "Reporting"}
		if !p.HeardAt.After(now.Add(-control.PodSilence)) {
			st = state{"unknown", "Silent"}
		}
		list = append(list, podView{p, st})
	}
	return s.show(w, r, v, http.StatusOK, "pods", frame{Title: "Pods", Here: "pods", Body: list})
}
