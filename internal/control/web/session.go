package web

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"sync"
	"time"

	"github.com/getbindu/bindu-edge/internal/control"
)

// Bounds of sessions. They are in memory: a restart signs everybody out.
const (
	MaxSessions = 10_000         // over it, the one that was used longest ago ends
	SessionLife = 12 * time.Hour // after signing in
	SessionIdle = time.Hour      // without a request; an open page that is in sight makes some

	cookieName = "__Host-bindu_session"
)

// sessionID is the hash of what the cookie holds: who reads our memory can't
// sign in with it.
type sessionID [sha256.Size]byte

// session is one browser that is signed in. Its fields change under the lock of
// the sessions.
type session struct {
	key    control.Digest // of the API key; whether it still opens anything is asked each time
	began  time.Time
	seen   time.Time
	notice *notice // for the next page
	made   *made   // a secret, for the next page
}

// made is a secret that was just made. It waits for the one page that shows it.
type made struct {
	of     string // the id of the tunnel or key
	secret string
	target string // what the agent is to expose
	until  time.Time
}

// madeLife bounds how long a secret waits for its page.
const madeLife = 2 * time.Minute

// sessions are those of one process.
type sessions struct {
	mu   sync.Mutex
	byID map[sessionID]*session
}

func newSessions() *sessions { return &sessions{byID: make(map[sessionID]*session)} }

// begin makes a session and gives what its cookie is to hold.
func (s *sessions) begin(key control.Digest) (cookie string) {
	var raw [32]byte
	_, _ = rand.Read(raw[:]) // never fails, see crypto/rand
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.byID) >= MaxSessions {
		s.makeRoom(now)
	}
	s.byID[sha256.Sum256(raw[:])] = &session{key: key, began: now, seen: now}
	return base64.RawURLEncoding.EncodeToString(raw[:])
}

// makeRoom drops what has ended, or else the session that was used longest ago.
func (s *sessions) makeRoom(now time.Time) {
	var oldest sessionID
	var seen time.Time
	for id, one := range s.byID {
		if one.over(now) {
			delete(s.byID, id)
		} else if seen.IsZero() || one.seen.Before(seen) {
			oldest, seen = id, one.seen
		}
	}
	if len(s.byID) >= MaxSessions {
		delete(s.byID, oldest)
	}
}

func (s *session) over(now time.Time) bool {
	return now.Sub(s.began) >= SessionLife || now.Sub(s.seen) >= SessionIdle
}

// find gives the session of a request's cookie, and the key it was begun with.
func (s *sessions) find(r *http.Request) (id sessionID, key control.Digest, ok bool) {
	cookie, err := r.Cookie(cookieName)
	if err != nil {
		return id, key, false
	}
	raw, err := base64.RawURLEncoding.DecodeString(cookie.Value)
	if err != nil || len(raw) != 32 {
		return id, key, false
	}
	id = sha256.Sum256(raw)
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	one := s.byID[id]
	if one == nil {
		return id, key, false
	}
	if one.over(now) {
		delete(s.byID, id)
		return id, key, false
	}
	one.seen = now
	return id, one.key, true
}

func (s *sessions) end(id sessionID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.byID, id)
}

// leave keeps something for the next page of the session, if it still is one.
func (s *sessions) leave(id sessionID, change func(*session)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if one := s.byID[id]; one != nil {
		change(one)
	}
}

// takeNotice gives what the next page is to say, once.
func (s *sessions) takeNotice(id sessionID) *notice {
	var n *notice
	s.leave(id, func(one *session) { n, one.notice = one.notice, nil })
	return n
}

// takeMade gives the secret of what was just made, once.
func (s *sessions) takeMade(id sessionID, of string) *made {
	var m *made
	s.leave(id, func(one *session) {
		if one.made == nil || one.made.of != of {
			return
		}
		if time.Now().Before(one.made.until) {
			m = one.made
		}
		one.made = nil
	})
	return m
}

// setCookie signs the browser in. The prefix makes it refuse the cookie unless
// it is ours alone and comes over a connection that it trusts.
func setCookie(w http.ResponseWriter, value string) {
	http.SetCookie(w, &http.Cookie{
		Name: cookieName, Value: value, Path: "/", Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode,
		MaxAge: int(SessionLife / time.Second),
	})
}

func dropCookie(w http.ResponseWriter) {
	http.SetCookie(w, &http.Cookie{
		Name: cookieName, Path: "/", Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode, MaxAge: -1,
	})
}
