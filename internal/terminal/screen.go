package terminal

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/colorprofile"
)

// framesPerSecond bounds how often the screen is written, whatever happens.
const framesPerSecond = 20

func (d *Display) runScreen(ctx context.Context) error {
	profile := d.profile()
	program := tea.NewProgram(newModel(d.opts, time.Now()),
		tea.WithInput(d.opts.In), tea.WithOutput(d.opts.Out), tea.WithEnvironment(d.opts.Environ),
		tea.WithColorProfile(profile), tea.WithFPS(framesPerSecond),
		tea.WithWindowSize(80, 24), // until a terminal says otherwise
		// Signals are the command's business: it has more than a screen to end.
		tea.WithoutSignalHandler())

	feeding, cancel := context.WithCancel(ctx)
	fed := make(chan struct{})
	go func() {
		defer close(fed)
		_ = d.pump(feeding, true, redrawEvery, func(b batch) error { program.Send(b); return nil })
		program.Quit() // does nothing when the user was first
	}()
	last, err := program.Run()
	cancel()
	<-fed
	if err != nil {
		return fmt.Errorf("show the status screen: %w", err)
	}
	m := last.(model).add(d.batch()) // what came while the screen was closing
	out := &colorprofile.Writer{Forward: d.opts.Out, Profile: profile}
	if _, err := io.WriteString(out, strings.Join(m.final(time.Now()), "\n")+"\n"); err != nil {
		return fmt.Errorf("write the summary: %w", err)
	}
	return nil
}

// profile is which colours the terminal can show. NO_COLOR counts with any
// value but the empty one (no-color.org), not only with "1" and "true".
func (d *Display) profile() colorprofile.Profile {
	p := colorprofile.Detect(d.opts.Out, d.opts.Environ)
	noColor := slices.ContainsFunc(d.opts.Environ, func(v string) bool {
		return strings.HasPrefix(v, "NO_COLOR=") && len(v) > len("NO_COLOR=")
	})
	if noColor {
		p = min(p, colorprofile.ASCII)
	}
	return p
}
