package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync/atomic"
	"testing"

	"github.com/getbindu/bindu-edge/internal/control"
	"github.com/getbindu/bindu-edge/internal/planeclient"
	"github.com/getbindu/bindu-edge/internal/tunnel"
)

// A tunnel is found by its slug with two questions, however many others have a
// slug that begins alike.
func TestFindBySlug(t *testing.T) {
	t.Parallel()
	made, server, stop, err := startTestPlane(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	secret, _, err := made.FirstAdmin(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	want, _, err := made.CreateTunnel(t.Context(), control.Create{Slug: "shop"})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 60 { // more than are on a page
		if _, _, err := made.CreateTunnel(t.Context(), control.Create{Slug: tunnel.Slug(fmt.Sprint("shop-", i))}); err != nil {
			t.Fatal(err)
		}
	}
	var asked, listed atomic.Int64
	counting := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if limit := r.URL.Query().Get("limit"); limit != "" && limit != "1" {
			listed.Add(1)
		}
		server.Config.Handler.ServeHTTP(w, r)
	}))
	t.Cleanup(counting.Close)
	base, err := url.Parse(counting.URL)
	if err != nil {
		t.Fatal(err)
	}
	client, err := planeclient.New(planeclient.Options{BaseURL: base, Key: secret})
	if err != nil {
		t.Fatal(err)
	}
	at := &plane{Client: client, url: counting.URL}
	for _, ref := range []string{"shop", string(want.ID)} {
		asked.Store(0)
		got, err := at.find(t.Context(), ref)
		if err != nil || got.ID != string(want.ID) {
			t.Errorf("%s: found %s, %v, want %s", ref, got.Slug, err, want.ID)
		}
		if n := asked.Load(); n > 2 || listed.Load() > 0 {
			t.Errorf("%s: %d questions, %d for more than one tunnel", ref, n, listed.Load())
		}
	}
	if _, err := at.find(t.Context(), "shop-"); err == nil {
		t.Error("a part of a slug is taken for one")
	}
}
