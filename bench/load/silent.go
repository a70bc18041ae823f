package load

import (
	"context"
	"fmt"
	"net/http"
)

// Silent are callers that asked and read nothing.
type Silent struct{ callers []*caller }

// Silence opens n connections, asks for address on each, and reads not one
// byte. Close ends them.
func Silence(ctx context.Context, address string, n int) (*Silent, error) {
	s := &Silent{}
	for range n {
		c, err := dialled(ctx, address)
		if err == nil {
			s.callers = append(s.callers, c)
			err = c.send(http.MethodGet, nil, 0)
		}
		if err != nil {
			s.Close()
			return nil, fmt.Errorf("%s: %w", address, err)
		}
	}
	return s, nil
}

// Close leaves without having read.
func (s *Silent) Close() {
	for _, c := range s.callers {
		c.close()
	}
}
