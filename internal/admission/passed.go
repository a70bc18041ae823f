package admission

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"sync"
	"time"
)

const (
	passedWays = 8
	passedSets = 1024 // × 8 credentials × 40 bytes = 320 KiB
	// passedFor is how long a credential that was right is remembered after its
	// last use. It is bound to the hashes that it was compared with, so that no
	// change of those is missed however long that goes on.
	passedFor = time.Minute
)

// passed remembers credentials that were right, by a hash that nobody can
// foresee. Its memory is fixed; when it is full, the least used goes.
type passed struct {
	salt  [sha256.Size]byte
	began time.Time
	sets  []passedSet
}

type passedSet struct {
	sync.Mutex
	ways [passedWays]passedKey
}

type passedKey struct {
	key   [sha256.Size]byte
	until int64 // nanoseconds since began
}

func newPassed() *passed {
	p := &passed{began: time.Now(), sets: make([]passedSet, passedSets)}
	_, _ = rand.Read(p.salt[:]) // never fails, see crypto/rand
	return p
}

// key is what stands for a credential shown to a.
func (p *passed) key(a *auth, shown []byte) [sha256.Size]byte {
	var text [2*sha256.Size + maxShown]byte
	n := copy(text[:], p.salt[:])
	n += copy(text[n:], a.id[:])
	n += copy(text[n:], shown)
	return sha256.Sum256(text[:n])
}

func (p *passed) set(key [sha256.Size]byte) *passedSet {
	return &p.sets[binary.BigEndian.Uint64(key[:])%passedSets]
}

// has reports whether the credential was right, and remembers it anew.
func (p *passed) has(key [sha256.Size]byte) bool {
	now := int64(time.Since(p.began))
	s := p.set(key)
	s.Lock()
	defer s.Unlock()
	for i := range s.ways {
		if w := &s.ways[i]; w.until > now && w.key == key {
			w.until = now + int64(passedFor)
			return true
		}
	}
	return false
}

func (p *passed) add(key [sha256.Size]byte) {
	until := int64(time.Since(p.began) + passedFor)
	s := p.set(key)
	s.Lock()
	defer s.Unlock()
	place := &s.ways[0]
	for i := range s.ways {
		if s.ways[i].key == key {
			place = &s.ways[i]
			break
		}
		if s.ways[i].until < place.until {
			place = &s.ways[i]
		}
	}
	*place = passedKey{key, until}
}
