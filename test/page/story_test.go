package page

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestStory is the page from the first start to the end of a tunnel.
func TestStory(t *testing.T) {
	t.Parallel()
	s := startSite(t)
	b := openTab(t, s)

	b.open("/")
	if at := ask[string](b, "location.pathname"); at != "/sign-in" {
		t.Fatalf("a stranger is at %s", at)
	}
	b.fill("#key", s.key)
	b.leave("#sign-in")
	b.wait(`[data-empty="none"]`)

	// A key for the edge, made in the page; the pod that has it appears there.
	b.leave(`nav a[href="/keys"]`)
	b.fill("#f-name", "edges")
	b.choose("#f-role", "edge")
	b.leave("#new-key button[type=submit]")
	edgeKey := b.text("[data-key]")
	s.startEdge(edgeKey)
	b.leave(`nav a[href="/pods"]`)
	b.wait("[data-pod][data-state=online]")

	// A tunnel, and the command that opens it.
	origin := startOrigin(t)
	b.leave(`nav a[href="/"]`)
	b.leave("#new-tunnel")
	b.fill("#f-name", "My server")
	b.fill("#f-slug", "x")
	b.fill("#f-target", origin)
	b.expect("status of 422")
	b.leave("#make")
	b.wait("[data-error=slug]")
	if at := ask[string](b, "document.activeElement.id"); at != "f-slug" {
		t.Errorf("after a wrong slug the focus is at %q", at)
	}
	b.fill("#f-slug", "mine")
	b.leave("#make")
	command := b.text("[data-command]")
	b.wait("[data-tunnel][data-state=offline]")
	b.click("[data-copy='#command']")
	b.until("/Copied|Selected/.test(document.querySelector('[data-copy]').textContent)")

	// Its agent comes online before the reader's eyes.
	b.ask("window.stayed = true")
	stayed := func(after string) {
		t.Helper()
		if !ask[bool](b, "window.stayed === true") {
			t.Errorf("the page was loaded again: %s", after)
		}
	}
	agent := paste(t, command)
	b.wait("[data-tunnel][data-state=online]")
	stayed("online")
	if !strings.Contains(b.text(".history li"), "Connected") {
		t.Errorf("the history does not begin with the connection: %q", b.text(".history"))
	}

	public := s.edge + "/local_tunnel/mine/"
	for range 7 {
		if got := status(t, public); got != http.StatusOK {
			t.Fatalf("a call: %d", got)
		}
	}
	if got := status(t, public+"broken"); got != http.StatusInternalServerError {
		t.Fatalf("a call that fails: %d", got)
	}
	b.until(`document.querySelector('[data-count=requests]').innerText === '8'`)
	b.until(`document.querySelector('[data-count=errors]').innerText === '1'`)
	b.until(`document.querySelector('#chart canvas') && JSON.parse(document.querySelector('#chart').dataset.minutes)[1].reduce((a, n) => a + n) === 8`)
	stayed("counts")

	// A limit is in force at once.
	b.fill(`[name="limits.rps"]`, "0.02")
	b.fill(`[name="limits.burst"]`, "1")
	b.click("[data-form=limits] button[type=submit]")
	b.until("document.querySelector('[data-notice]')?.innerText.includes('in force')")
	stayed("limits")
	calledUntil(t, public, http.StatusTooManyRequests)
	b.until(`Number(document.querySelector('[data-count=refused]').innerText) > 0`)

	// Wrong limits are told at the field, and change nothing.
	b.fill(`[name="limits.rps"]`, "lots")
	b.click("[data-form=limits] button[type=submit]")
	b.wait(`[data-error="limits.rps"]`)
	b.until(`document.activeElement.name === 'limits.rps'`)
	b.fill(`[name="limits.rps"]`, "")
	b.fill(`[name="limits.burst"]`, "")
	b.click("[data-form=limits] button[type=submit]")
	b.gone(`[data-error="limits.rps"]`)
	calledUntil(t, public, http.StatusOK)
	stayed("limits taken away")

	// Revoked: agent and state go.
	b.sure("revoke")
	b.wait("[data-tunnel][data-state=revoked]")
	if code := agent.Wait(); code == 0 {
		t.Error("the agent of a revoked tunnel ended as if all were well")
	}
	calledUntil(t, public, http.StatusGone)

	b.sure("restore")
	b.wait("[data-tunnel][data-state=offline]")
	agent = paste(t, command)
	b.wait("[data-tunnel][data-state=online]")

	// A new token: the old agent ends, the new command opens the tunnel.
	b.click("[data-dialog=ask-rotate]")
	b.choose("#ask-rotate select[name=overlap]", "0s")
	b.leave("#ask-rotate [data-act=rotate]")
	renewed := strings.Replace(b.text("[data-command]"), " 3000 ", " "+origin+" ", 1)
	if renewed == command {
		t.Error("the command is the old one")
	}
	agent.Wait()
	agent = paste(t, renewed)
	b.wait("[data-tunnel][data-state=online]")
	b.ask("window.left = true")
	b.open(ask[string](b, "location.pathname"))
	if b.has("#made") {
		t.Error("the token is shown twice")
	}

	b.leave("a[href^='/audit?target=']")
	if got := b.text("table"); !strings.Contains(got, "rotated a token") || !strings.Contains(got, "127.0.0.1") {
		t.Errorf("the audit log: %s", got)
	}
	b.leave("td a")
	b.sure("delete")
	b.wait(`[data-empty="none"]`)
	agent.Wait()
	calledUntil(t, public, http.StatusNotFound)
}

// sure opens the dialog of an act, and says yes.
func (b *tab) sure(act string) {
	b.t.Helper()
	b.click("[data-dialog=ask-" + act + "]")
	b.leave("#ask-" + act + " [data-act=" + act + "]")
}

// calledUntil calls until the answer is one with that status.
func calledUntil(t *testing.T, url string, want int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	last := 0
	for {
		if last = status(t, url); last == want {
			return
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			t.Fatalf("%s: %d, want %d", url, last, want)
		}
	}
}
