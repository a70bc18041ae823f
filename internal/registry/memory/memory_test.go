package memory_test

import (
	"testing"

	"github.com/getbindu/bindu-edge/internal/registry/memory"
	"github.com/getbindu/bindu-edge/internal/registry/registrytest"
)

func TestConformance(t *testing.T) {
	registrytest.Run(t, registrytest.Harness{
		New: func(*testing.T) registrytest.Registry { return memory.New() },
	})
}
