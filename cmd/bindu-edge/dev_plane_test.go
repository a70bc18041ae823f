package main

import (
	"log/slog"
	"net/http"
	"strings"
	"testing"
)

// The page that dev prints signs in once, and what stands beside it asks for a key.
func TestLocalPlane(t *testing.T) {
	t.Parallel()
	p, err := newLocalPlane(t.Context(), nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := p.stop(); err != nil {
			t.Error(err)
		}
	}()
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	get := func(url, key string) *http.Response {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		if key != "" {
			r.Header.Set("Authorization", "Bearer "+key)
		}
		res, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		return res
	}
	if !strings.HasPrefix(p.page, "http://localhost:") || p.url.Hostname() != "127.0.0.1" {
		t.Errorf("page %s, control plane %s", p.page, p.url)
	}
	if res := get(p.page, ""); res.StatusCode != http.StatusSeeOther || !strings.HasPrefix(res.Header.Get("Set-Cookie"), "__Host-bindu_session=") {
		t.Errorf("first: %d %v", res.StatusCode, res.Header)
	}
	if res := get(p.page, ""); res.StatusCode != http.StatusForbidden {
		t.Errorf("again: %d", res.StatusCode)
	}
	resolve := p.url.JoinPath("/api/tunnels/resolve/none").String()
	if res := get(resolve, ""); res.StatusCode != http.StatusForbidden {
		t.Errorf("resolve without a key: %d", res.StatusCode)
	}
	if res := get(resolve, p.edgeKey); res.StatusCode != http.StatusNotFound {
		t.Errorf("resolve with the edge's key: %d", res.StatusCode)
	}
	if res := get(p.url.JoinPath("/health").String(), ""); res.StatusCode != http.StatusOK {
		t.Errorf("health: %d", res.StatusCode)
	}
}
