package web

import (
	"crypto/rand"
	"crypto/sha256"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/getbindu/bindu-edge/internal/control"
)

// CodeLife is how long a one-time code can be used.
const CodeLife = 10 * time.Minute

// maxCodes wait to be used; over it, any goes.
const maxCodes = 16

// codes sign in who was told one: each once, and from this machine only.
type codes struct {
	mu   sync.Mutex
	byID map[[sha256.Size]byte]code
}

type code struct {
	key   control.Digest
	until time.Time
}

func newCodes() *codes { return &codes{byID: make(map[[sha256.Size]byte]code)} }

// Invite gives a path of the page that signs in with the API key, once and
// within CodeLife, a browser on this machine.
func (s *Site) Invite(key control.Key) (path string) {
	return "/sign-in/" + s.codes.make(key.Digest)
}

func (c *codes) make(key control.Digest) string {
	text := rand.Text() // 128 bits
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	for id, one := range c.byID {
		if len(c.byID) >= maxCodes || !now.Before(one.until) {
			delete(c.byID, id)
		}
	}
	c.byID[sha256.Sum256([]byte(text))] = code{key, now.Add(CodeLife)}
	return text
}

func (c *codes) use(text string) (control.Digest, bool) {
	id := sha256.Sum256([]byte(text))
	c.mu.Lock()
	defer c.mu.Unlock()
	one, ok := c.byID[id]
	delete(c.byID, id)
	return one.key, ok && time.Now().Before(one.until)
}

// useCode signs in with a one-time code.
func (s *Site) useCode(w http.ResponseWriter, r *http.Request) {
	if !peer(r).IsLoopback() || !isLocal(r.Host) {
		s.fail(w, r, nil, &refusal{http.StatusForbidden, "Only on its own machine", "A one-time code works only in a browser on the machine that printed it."})
		return
	}
	digest, ok := s.codes.use(r.PathValue("code"))
	if !ok {
		s.fail(w, r, nil, &refusal{http.StatusForbidden, "Code used or too old", "A one-time code works once, for ten minutes. Start bindu-edge dev again for another."})
		return
	}
	key, err := s.plane.AuthenticateDigest(r.Context(), digest)
	if err != nil {
		s.fail(w, r, nil, err)
		return
	}
	s.welcome(w, r, key)
}

// isLocal reports whether the name that a browser asked for is this machine's
// own: a stranger's name that leads here is none.
func isLocal(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	if host == "localhost" {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.IsLoopback()
}
