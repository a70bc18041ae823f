package api_test

import (
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/getbindu/bindu-edge/internal/control"
)

func TestTrafficAndHistory(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPlant(t)
		made := p.make1(`"slug":"shop"`)
		report := func(body string) {
			t.Helper()
			body = strings.NewReplacer("ID", made["tunnel_id"].(string), "NOW", time.Now().UTC().Format(time.RFC3339)).Replace(body)
			if a := p.ask(control.RoleEdge, "POST", "/api/reports", body); a.status != 204 {
				t.Fatalf("report: %d %s", a.status, a.body)
			}
		}
		shows := func(when, what, want string) {
			t.Helper()
			got := p.ask(control.RoleViewer, "GET", path(made, what), "")
			var indented strings.Builder // one line for each thing
			var list map[string][]json.RawMessage
			if err := json.Unmarshal([]byte(got.body), &list); err != nil || got.status != 200 || len(list) != 1 {
				t.Fatalf("%s: %d %s, %v", when, got.status, got.body, err)
			}
			for _, items := range list {
				for _, item := range items {
					indented.WriteString(string(item) + "\n")
				}
			}
			if diff := cmp.Diff(want, indented.String()); diff != "" {
				t.Errorf("%s (-want +got):\n%s", when, diff)
			}
		}
		minutes := func(last ...string) string {
			var text strings.Builder
			for i := range control.TrafficMinutes - len(last) {
				at := time.Now().UTC().Truncate(time.Minute).Add(time.Duration(i+1-control.TrafficMinutes) * time.Minute)
				text.WriteString(`{"at":"` + at.Format(time.RFC3339) + `","requests":0,"errors":0,"refused":0}` + "\n")
			}
			return text.String() + strings.Join(last, "")
		}
		shows("no traffic", "/traffic", minutes())
		shows("no history", "/history", "")

		report(`{"pod_id":"pod-1","links":[{"tunnel_id":"ID","session":"s","state":"connected","at":"NOW","protocol":"h2","agent_version":"1.2"}],
			"counts":[{"tunnel_id":"ID","minute":"NOW","requests":10,"errors":3,"refused":2,"newer":1},{"tunnel_id":"unknown","minute":"NOW","requests":1}]}`)
		time.Sleep(time.Minute) // the bubble's clock
		report(`{"pod_id":"pod-2","links":[{"tunnel_id":"ID","state":"refused","at":"NOW","protocol":"json","reason":"unauthorized"}],
			"counts":[{"tunnel_id":"ID","minute":"NOW","requests":1}]}`)
		report(`{"pod_id":"pod-1","full":true}`)
		shows("counted", "/traffic", minutes(
			`{"at":"2000-01-01T00:00:00Z","requests":10,"errors":3,"refused":2}`+"\n",
			`{"at":"2000-01-01T00:01:00Z","requests":1,"errors":0,"refused":0}`+"\n"))
		shows("what happened", "/history",
			`{"at":"2000-01-01T00:01:00Z","state":"closed","pod_id":"pod-1","protocol":"h2","agent_version":"1.2"}`+"\n"+
				`{"at":"2000-01-01T00:01:00Z","state":"refused","pod_id":"pod-2","protocol":"json","reason":"unauthorized"}`+"\n"+
				`{"at":"2000-01-01T00:00:00Z","state":"connected","pod_id":"pod-1","protocol":"h2","agent_version":"1.2"}`+"\n")
	})
}
