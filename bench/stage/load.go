package stage

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Load puts an open loop on address from a process of its own, so that it takes
// nothing from the generator whose figures count, and gives how many answers of
// that status a second there were. Any other answer is an error.
func (s *Stage) Load(ctx context.Context, address string, status, conns int, rate float64, span time.Duration) (float64, error) {
	p, err := s.run("load", nil, s.opts.Self, "load", address, fmt.Sprint(status), fmt.Sprint(conns), fmt.Sprint(rate), span.String())
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, span+patience)
	defer cancel()
	select {
	case <-p.done:
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	_, said, _ := strings.Cut(p.output(), "answers ")
	if p.err != nil {
		return 0, fmt.Errorf("load: %w\n%s", p.err, p.tail())
	}
	return strconv.ParseFloat(strings.TrimSpace(said), 64)
}
