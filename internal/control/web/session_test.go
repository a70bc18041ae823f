package web

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/getbindu/bindu-edge/internal/control"
)

func asking(cookie string) *http.Request {
	return &http.Request{Header: http.Header{"Cookie": {cookieName + "=" + cookie}}}
}

func TestSessionEnds(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name  string
		every time.Duration // between requests
		want  time.Duration // the last request that is answered
	}{
		{"idle", time.Hour, 0},
		{"in use", 50 * time.Minute, 14 * 50 * time.Minute}, // the next would be after 12 h
	} {
		synctest.Test(t, func(t *testing.T) {
			s := newSessions()
			cookie := s.begin(control.DigestOf("key"))
			began, last := time.Now(), time.Duration(0)
			for {
				time.Sleep(row.every)
				if _, key, ok := s.find(asking(cookie)); !ok {
					break
				} else if key != control.DigestOf("key") {
					t.Fatal("another's key")
				}
				last = time.Since(began)
			}
			if last != row.want {
				t.Errorf("%s: answered until %v, want %v", row.name, last, row.want)
			}
			if len(s.byID) != 0 {
				t.Errorf("%s: it is still kept", row.name)
			}
		})
	}
}

func TestSessionsAreBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSessions()
		first := s.begin(control.Digest{1})
		time.Sleep(time.Second)
		second := s.begin(control.Digest{2})
		for range MaxSessions - 1 {
			time.Sleep(time.Millisecond)
			s.begin(control.Digest{3})
		}
		if len(s.byID) != MaxSessions {
			t.Errorf("%d sessions", len(s.byID))
		}
		if _, _, ok := s.find(asking(first)); ok {
			t.Error("the one used longest ago is still there")
		}
		if _, _, ok := s.find(asking(second)); !ok {
			t.Error("the second had to go")
		}
	})
}

func TestMadeIsShownOnceAndSoon(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSessions()
		id, _, _ := s.find(asking(s.begin(control.Digest{1})))
		leave := func() {
			s.leave(id, func(one *session) { one.made = &made{of: "a", secret: "x", until: time.Now().Add(madeLife)} })
		}
		leave()
		if s.takeMade(id, "b") != nil || s.takeMade(id, "a") == nil || s.takeMade(id, "a") != nil {
			t.Error("not exactly once, for its own page")
		}
		leave()
		time.Sleep(madeLife)
		if s.takeMade(id, "a") != nil {
			t.Error("it waits for ever")
		}
	})
}

func TestCodeEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCodes()
		early, late := c.make(control.Digest{1}), c.make(control.Digest{2})
		time.Sleep(CodeLife - time.Second)
		if _, ok := c.use(early); !ok {
			t.Error("it ended too early")
		}
		time.Sleep(time.Second)
		if _, ok := c.use(late); ok {
			t.Error("it did not end")
		}
		for range 100 {
			c.make(control.Digest{})
		}
		if len(c.byID) > maxCodes {
			t.Errorf("%d codes wait", len(c.byID))
		}
	})
}
