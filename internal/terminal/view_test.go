package terminal

import (
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	"charm.land/lipgloss/v2"
	"github.com/charmbracelet/x/ansi"
	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files")

var noon = time.Date(2027, 1, 2, 12, 0, 0, 0, time.UTC)

// busy is a screen with one of everything.
func busy() model {
	m := newModel(Options{Version: "0.1.0", Target: "http://localhost:3773"}, noon)
	at := func(s int) time.Time { return noon.Add(time.Duration(s) * time.Second) }
	return m.add(batch{now: at(125), totals: totals{requests: 1204, failed: 3, inFlight: 2, bytesOut: 3_400_000}, dropped: 12, events: []event{
		state{kind: online, since: at(2), info: Info{
			URL:  "http://localhost:8080/local_tunnel/3f9a1c/",
			Note: "Reachable from this machine only. For a public URL:",
			Next: []string{"bindu-edge serve", "bindu-edge http 3773 --edge https://edge.example.com"},
		}},
		targetState{since: at(3), problem: "nothing listens on localhost:3773"},
		Request{Time: at(4), Method: "POST", Path: "/message", Status: 200, Duration: 12 * time.Millisecond, BytesOut: 1234},
		Request{Time: at(5), Method: "GET", Path: "/a/path/that/goes/on/until/it/fits/into/no/line/of/this/width/at/all", Status: 301, Duration: time.Second, BytesOut: 12},
		Request{Time: at(6), Method: "OPTIONS", Path: "/日本/日本/日本/日本/日本/日本/日本/日本/日本/日本", Status: 404, Duration: 2 * time.Minute, BytesOut: 999_999},
		notice{time: at(7), level: slog.LevelWarn, text: "the edge asks us to move"},
		Request{Time: at(8), Method: "PROPPATCH", Path: "/x", Status: 502, Duration: time.Millisecond, Err: "connection refused"},
		Request{Time: at(9), Method: "GET", Path: "/gone", Duration: time.Millisecond, Err: "the caller left"},
	}})
}

func sized(m model, width, height int) model {
	next, _ := m.Update(tea.WindowSizeMsg{Width: width, Height: height})
	return next.(model)
}

func text(lines []string) string {
	var b strings.Builder
	for _, line := range lines {
		b.WriteString(strings.TrimRight(ansi.Strip(line), " ") + "\n")
	}
	return b.String()
}

func TestScreenGolden(t *testing.T) {
	reconnecting := busy().add(batch{now: noon.Add(200 * time.Second), events: []event{
		state{kind: offline, since: noon.Add(198 * time.Second), reason: "connection reset by peer", retryIn: 5 * time.Second},
	}})
	tests := []struct {
		name  string
		input []string
	}{
		{"start", sized(newModel(Options{Version: "0.1.0", Target: "http://localhost:3773"}, noon), 80, 12).screen()},
		{"wide", sized(busy(), 140, 26).screen()},
		{"usual", sized(busy(), 80, 24).screen()},
		{"narrow", sized(busy(), 40, 24).screen()},
		{"tiny", sized(busy(), 20, 16).screen()},
		{"low", sized(busy(), 80, 8).screen()},
		{"reconnecting", sized(reconnecting, 80, 24).screen()},
		{"final", sized(busy(), 80, 24).final(noon.Add(300 * time.Second))},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, file := text(tt.input), filepath.Join("testdata", "screen", tt.name+".txt")
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("screen differs (-want +got):\n%s", diff)
			}
		})
	}
}

// Whatever the size, the screen has as many lines as the terminal and none is
// wider, or the terminal would wrap and scroll it.
func TestScreenFits(t *testing.T) {
	for _, width := range []int{1, 5, 19, 20, 21, 29, 30, 35, 36, 43, 44, 55, 56, 80, 110, 114, 115, 250} {
		for _, height := range []int{1, 2, 3, 5, 8, 12, 16, 24, 60} {
			t.Run(fmt.Sprintf("%dx%d", width, height), func(t *testing.T) {
				lines := sized(busy(), width, height).screen()
				if len(lines) != height {
					t.Errorf("%d lines, want %d", len(lines), height)
				}
				for _, line := range lines {
					if got := lipgloss.Width(line); got > width {
						t.Errorf("%q is %d wide", ansi.Strip(line), got)
					}
				}
			})
		}
	}
}

// Every request takes exactly the width of the list, so that columns line up.
func TestColumnsLineUp(t *testing.T) {
	for width := 20; width <= 120; width++ {
		c := columnsFor(width)
		if got := lipgloss.Width(c.head()); got != width {
			t.Errorf("width %d: the heading is %d wide", width, got)
		}
		for _, e := range busy().entries {
			if r, ok := e.(Request); ok {
				if got := lipgloss.Width(c.request(r)); got != width {
					t.Errorf("width %d: %q is %d wide", width, ansi.Strip(c.request(r)), got)
				}
			}
		}
	}
}
