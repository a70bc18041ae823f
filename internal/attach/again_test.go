package attach

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"
	"github.com/google/go-cmp/cmp"

	"github.com/getbindu/bindu-edge/internal/fault"
	"github.com/getbindu/bindu-edge/internal/hub"
	"github.com/getbindu/bindu-edge/internal/link"
	"github.com/getbindu/bindu-edge/internal/registry"
	"github.com/getbindu/bindu-edge/internal/registry/memory"
	"github.com/getbindu/bindu-edge/internal/tunnel"
)

// books is a registry of several pods that notes what it is told of agents.
type books struct {
	*memory.Registry
	away     error // of SlugOf
	released chan tunnel.Claim

	mu        sync.Mutex
	asked     []string
	instances []string        // of claims
	after     []time.Duration // of BindSlugFor
}

func newBooks() *books { return &books{Registry: memory.New(), released: make(chan tunnel.Claim, 100)} }

func (b *books) Release(ctx context.Context, c tunnel.Claim) error {
	err := b.Registry.Release(ctx, c)
	b.released <- c
	return err
}

func (b *books) SlugOf(ctx context.Context, instance string) (tunnel.Slug, bool, error) {
	b.mu.Lock()
	b.asked = append(b.asked, instance)
	b.mu.Unlock()
	if b.away != nil {
		return "", false, b.away
	}
	return b.Registry.SlugOf(ctx, instance)
}

func (b *books) BindSlugFor(ctx context.Context, slug tunnel.Slug, c tunnel.Claim, after time.Duration) error {
	b.mu.Lock()
	b.instances, b.after = append(b.instances, c.Instance), append(b.after, after)
	b.mu.Unlock()
	return b.Registry.BindSlugFor(ctx, slug, c, after)
}

// pod serves agents without credentials beside the other pods of b.
func (b *books) pod(t *testing.T, name tunnel.PodID, limit int) (url string) {
	t.Helper()
	url, _ = serve(t, Options{
		Hub: hub.New(hub.Options{
			Pod: name, Registry: b, Gate: func(tunnel.Grant) hub.Gate { return openGate{} }, DrainTimeout: time.Second,
		}),
		Links: link.NewOpener(link.Options{}), Ephemeral: NewEphemeral(limit), Slugs: b, Pod: name,
		Address:   func(*http.Request) netip.Addr { return here },
		PublicURL: func(s tunnel.Slug) string { return "https://edge.example/" + string(s) + "/" },
	})
	return url
}

// visit opens a tunnel and returns its slug and what ends it.
func visit(t *testing.T, url, instance string) (slug tunnel.Slug, leave func()) {
	t.Helper()
	ws, res, err := websocket.Dial(t.Context(), url+"/ws", &websocket.DialOptions{HTTPHeader: http.Header{"Bindu-Agent-Instance": {instance}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ws.CloseNow() })
	if _, _, err := ws.Read(t.Context()); err != nil { // connected: the link stands
		t.Fatal(err)
	}
	return tunnel.Slug(res.Header.Get("Bindu-Tunnel-Id")), func() { _ = ws.CloseNow() }
}

// An agent has its slug at every pod, whether it moves or comes back, and only
// that agent has it. The registry never learns who it is.
func TestSlugAtAnotherPod(t *testing.T) {
	b := newBooks()
	a, z, third := b.pod(t, "pod-a", 10), b.pod(t, "pod-z", 10), b.pod(t, "pod-c", 10)
	const who = "an-instance-that-nobody-guesses"
	slug, _ := visit(t, a, who)

	moved, leave := visit(t, z, who)
	if moved != slug {
		t.Errorf("an agent that moved over has the slug %s, not %s", moved, slug)
	}
	owner, _, err := b.OwnerNow(t.Context(), tunnel.ID(slug))
	if err != nil || owner.Pod != "pod-z" {
		t.Errorf("the tunnel is held by %+v, %v", owner, err)
	}
	other, gone := visit(t, z, "another")
	if other == slug {
		t.Error("another agent has it as well")
	}
	gone()
	leave()
	for c := range b.released {
		if c.Tunnel == owner.Tunnel && c.Pod == owner.Pod {
			break
		}
	}
	back, _ := visit(t, third, who)
	if back != slug {
		t.Errorf("an agent that came back has the slug %s, not %s", back, slug)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, known := range append(b.asked, b.instances...) {
		if known == "" || strings.Contains(known, who) || known == "another" {
			t.Errorf("the registry was told %q of an agent", known)
		}
	}
}

// Without an answer nobody knows which slug an agent has: it gets none.
func TestNoAnswerIsNoSlug(t *testing.T) {
	b := newBooks()
	b.away = registry.ErrAway
	url := b.pod(t, "pod-a", 10)
	checkStatus(t, url+"/ws", http.Header{"Bindu-Agent-Instance": {"agent"}}, fault.RegistryUnavailable, 503)
	checkClose(t, url+"/ws", http.Header{"Bindu-Agent-Instance": {"agent"}}, websocket.StatusInternalError)
	if b.Len() != 0 {
		t.Error("a tunnel is claimed")
	}
	visit(t, url, "") // nothing is asked for one who does not say who it is
	if b.after[0] != 0 {
		t.Error("a slug is kept for nobody")
	}
}

// The registry is not asked for an agent that the pod has, or has no room for.
func TestRegistryIsAskedWhenItMatters(t *testing.T) {
	b := newBooks()
	url := b.pod(t, "pod-a", 1)
	slug, _ := visit(t, url, "agent")
	if again, _ := visit(t, url, "agent"); again != slug {
		t.Errorf("%s, then %s", slug, again)
	}
	checkStatus(t, url+"/ws", http.Header{"Bindu-Agent-Instance": {"another"}}, fault.EdgeOverloaded, 503)
	b.mu.Lock()
	defer b.mu.Unlock()
	if diff := cmp.Diff([]string{mark("agent")}, b.asked); diff != "" {
		t.Errorf("asked for (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]time.Duration{EphemeralMemory, EphemeralMemory}, b.after); diff != "" {
		t.Errorf("slugs are kept for (-want +got):\n%s", diff)
	}
}

// What the registry knows is newer than what the pod remembers, and a flood of
// short visits is no more there than here.
func TestTakeRecalled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := NewEphemeral(1)
		take := func(mark string, recalled, want tunnel.Slug, memory time.Duration) {
			t.Helper()
			grant, got, giveUp, err := e.take(here, mark, recalled)
			if err != nil {
				t.Fatal(err)
			}
			if want != "" && (grant.Slug != want || grant.Tunnel != tunnel.ID(want)) || got != memory {
				t.Errorf("take(%s, %s) = %+v, kept for %s, want %s for %s", mark, recalled, grant, got, want, memory)
			}
			giveUp()
		}
		take("agent", "", "", EphemeralMemory)
		take("agent", "recalled", "recalled", EphemeralMemory)
		take("agent", "", "recalled", EphemeralMemory)
		take("", "", "", 0)
		for i := range 15 {
			take(fmt.Sprint(i), "", "", EphemeralMemory)
		}
		take("one too many", "", "", 0)
		take("one too many", "known", "known", EphemeralMemory) // elsewhere
		take("agent", "newer", "newer", EphemeralMemory)
		take("agent", "", "newer", EphemeralMemory)
		<-time.After(EphemeralMemory)
		synctest.Wait()
		if n := len(e.slugs) + len(e.live) + len(e.counts); n != 0 {
			t.Errorf("%d entries are left", n)
		}
	})
}
