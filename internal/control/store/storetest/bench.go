package storetest

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/getbindu/bindu-edge/internal/control"
	"github.com/getbindu/bindu-edge/internal/tunnel"
)

// Bench measures what is asked most, and pages, over 100,000 tunnels. s must be
// empty, and have the window that it has in earnest.
func Bench(b *testing.B, s control.Store) {
	const many = 100_000
	Fill(b, s, many)
	b.Run("ByID", func(b *testing.B) {
		var n atomic.Int64
		b.SetParallelism(32)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if _, err := s.ByID(b.Context(), tunnel.ID(fmt.Sprintf("filler-%06d", n.Add(7919)%many))); err != nil {
					b.Error(err)
				}
			}
		})
	})
	middle := &control.Position{CreatedAt: epoch.Add(many / 2 * time.Second), ID: "x"}
	for _, row := range []struct {
		name  string
		input control.Selection
	}{
		{"first page", control.Selection{Limit: 50}},
		{"largest page from the middle", control.Selection{Limit: control.MaxPage, After: middle}},
		{"common match", control.Selection{Limit: 50, Search: "slug"}},
		{"no match", control.Selection{Limit: 50, Search: "nowhere"}},
		{"none revoked, from the middle", control.Selection{Limit: 50, Status: tunnel.StatusRevoked, After: middle}},
		{"none connected", control.Selection{Limit: 50, Link: control.LinkConnected}},
	} {
		b.Run(row.name, func(b *testing.B) {
			row.input.Now = epoch
			for b.Loop() {
				if _, _, err := s.Tunnels(b.Context(), row.input); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("exact match", func(b *testing.B) {
		for b.Loop() {
			if _, err := s.Exact(b.Context(), control.Selection{Search: "slug-000000", Exactly: "slug-000000", Now: epoch}); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("Report of 5,000 tunnels' counts", func(b *testing.B) {
		plane, err := control.New(control.Options{Store: s})
		if err != nil {
			b.Fatal(err)
		}
		counts := make([]control.Count, control.MaxCounts)
		for i := range counts {
			counts[i].Tunnel = tunnel.ID(fmt.Sprintf("filler-%06d", i))
		}
		for n := int64(1); b.Loop(); n++ {
			for i := range counts {
				counts[i].Minute = control.Minute{At: time.Now().Truncate(time.Minute), Requests: n}
			}
			if err := plane.Report(b.Context(), control.Report{Pod: "p", Counts: counts}); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("Create", func(b *testing.B) {
		plane, err := control.New(control.Options{Store: s})
		if err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			if _, _, err := plane.CreateTunnel(b.Context(), control.Create{}); err != nil {
				b.Fatal(err)
			}
		}
	})
}
