package memory_test

import (
	"errors"
	"testing"

	"github.com/getbindu/bindu-edge/internal/control"
	"github.com/getbindu/bindu-edge/internal/control/store/memory"
	"github.com/getbindu/bindu-edge/internal/control/store/storetest"
)

func TestConformance(t *testing.T) {
	storetest.Run(t, func(*testing.T) control.Store { return memory.New(memory.Options{}) })
}

func TestStoreIsBounded(t *testing.T) {
	s := memory.New(memory.Options{MaxTunnels: 1})
	if err := s.Insert(t.Context(), control.Tunnel{ID: "a", Slug: "a"}); err != nil {
		t.Fatal(err)
	}
	if err := s.Insert(t.Context(), control.Tunnel{ID: "b", Slug: "b"}); !errors.Is(err, control.ErrFull) {
		t.Errorf("Insert over the bound: %v, want ErrFull", err)
	}
	if err := s.Delete(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	if err := s.Insert(t.Context(), control.Tunnel{ID: "b", Slug: "b"}); err != nil {
		t.Errorf("Insert after a Delete: %v", err)
	}
}
