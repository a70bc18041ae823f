package web_test

import (
	"html"
	"regexp"
	"strings"
	"testing"

	"github.com/getbindu/bindu-edge/internal/control"
	"github.com/getbindu/bindu-edge/internal/link"
)

// Whatever our edges say of a link's end is told in words, and what others say as
// they say it.
func TestReasons(t *testing.T) {
	t.Parallel()
	p := newPlant(t)
	made := p.makeTunnel(control.Create{})
	b := p.signedIn(control.RoleViewer)
	all := []string{"the cable was cut", "unauthorized", "already_connected"}
	for _, r := range link.Reasons() {
		all = append(all, string(r))
	}
	for _, reason := range all {
		err := p.plane.Report(t.Context(), control.Report{Pod: "p", Links: []control.LinkReport{
			{Tunnel: made.ID, Session: reason, Kind: control.LinkOpened},
			{Tunnel: made.ID, Session: reason, Kind: control.LinkClosed, Reason: reason},
		}})
		if err != nil {
			t.Fatal(err)
		}
		body := b.get("/tunnels/" + string(made.ID)).body
		told := regexp.MustCompile(`<bdi [^>]*title="`+regexp.QuoteMeta(reason)+`">([^<]*)<`).FindAllStringSubmatch(body, -1)
		if len(told) != 2 { // in the history, and as the last error
			t.Errorf("%s is told %d times", reason, len(told))
			continue
		}
		for _, words := range told {
			got := html.UnescapeString(words[1])
			if strings.Contains(got, "_") || !strings.Contains(got, " ") || (got == reason) != strings.Contains(reason, " ") {
				t.Errorf("%s is told as %q", reason, got)
			}
		}
	}
}
