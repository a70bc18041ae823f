package page

import (
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/getbindu/bindu-edge/test/child"
)

// `bindu-edge dev` prints a URL that signs in the person at the keyboard, once.
func TestDev(t *testing.T) {
	t.Parallel()
	p := start(t, "dev", []string{fmt.Sprint("PORT=", child.FreePort(t))}, "dev")
	address := strings.TrimSpace(strings.TrimPrefix(p.waitLine("PAGE  ", 1), "PAGE  "))
	at, err := url.Parse(address)
	if err != nil || at.Hostname() != "localhost" {
		t.Fatalf("the page is at %q, %v", address, err)
	}
	s := &site{t: t, url: "http://" + at.Host}
	b := openTab(t, s)
	b.expect("status of 403")
	b.open(at.Path)
	b.wait("[data-tunnel][data-state=online]")
	if here := ask[string](b, "location.pathname"); here != "/" {
		t.Errorf("the code stays in the address: %s", here)
	}
	b.leave("[data-tunnel] a.title")
	b.wait("h1")

	other := openTab(t, s)
	other.expect("status of 403")
	other.open(at.Path)
	other.wait("[data-failed='403']")
	other.open("/")
	other.wait("#key")
}
