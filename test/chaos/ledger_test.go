package chaos

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"
)

// ledger is what callers and agents have seen.
type ledger struct {
	mu         sync.Mutex
	requests   []*asked
	byID       map[string]*asked
	strangers  []string // ids that agents saw and no caller made
	violations []string
	skipped    int // requests that were not made since too many were under way
}

func newLedger() *ledger { return &ledger{byID: map[string]*asked{}} }

// asked is one request. Guarded by its ledger's lock, as what seen notes in it
// comes from another goroutine.
type asked struct {
	id         string
	tunnel     int
	begun, end time.Time // end is zero while it is under way
	door       int       // the pod that it was sent to; -1 = unknown
	status     int       // 0 when there was no whole answer
	code       string    // Bindu-Edge-Error
	err        error     // why there was none, or what is wrong with it
	by         []int     // the agents that saw it, each time
}

func (a *asked) ok() bool { return a.status == 200 && a.err == nil }

func (l *ledger) begin(a *asked) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.requests = append(l.requests, a)
	l.byID[a.id] = a
}

func (l *ledger) finish(a *asked, fill func(*asked)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	fill(a)
	a.end = time.Now()
}

func (l *ledger) seen(id string, agent int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if a := l.byID[id]; a != nil {
		a.by = append(a.by, agent)
	} else {
		l.strangers = append(l.strangers, id)
	}
}

func (l *ledger) violation(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.violations) < 100 {
		l.violations = append(l.violations, time.Now().Format("15:04:05.000 ")+fmt.Sprintf(format, args...))
	}
}

// content is a body that belongs to one request.
func content(id string, size int) []byte {
	body := make([]byte, size)
	_, _ = rand.NewChaCha8(sha256.Sum256([]byte(id))).Read(body) // never fails
	return body
}

func sumOf(body []byte) string {
	h := sha256.Sum256(body)
	return hex.EncodeToString(h[:8])
}
