package link_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/getbindu/bindu-edge/internal/fault"
	"github.com/getbindu/bindu-edge/internal/h2"
	"github.com/getbindu/bindu-edge/internal/link"
)

func unreadOf(l *link.JSON) int64 {
	_, unread := l.Load()
	return unread
}

// Answers that wait whole for callers don't take more than the budget has: the link
// is not read on, and those that were left alone for longest are cut. Who reads, and
// who has left, costs nobody anything.
func TestJSONAnswersUnderABudget(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const size, room, all = 60 << 10, 8, 24
		const limit = room * (size + 100)
		l, a := meetJSON(t, link.JSONOptions{Budget: h2.NewBudget(limit)})
		body := strings.Repeat("x", size)
		var asked []jsonRequest
		results := make(chan *http.Response, all+1)
		trip := func(ctx context.Context) {
			go func() {
				res, err := l.RoundTrip(newRequest(t, "GET", "/", nil).WithContext(ctx))
				if err != nil && ctx.Err() == nil {
					t.Error(err)
				}
				results <- res
			}()
			m, _ := a.next("request")
			asked = append(asked, m)
		}
		for range all {
			trip(t.Context())
		}
		leaving, leave := context.WithCancel(t.Context())
		trip(leaving)
		leave()
		if res := <-results; res != nil {
			t.Fatal("an answer before there was one")
		}
		wrote := make(chan struct{})
		go func() {
			defer close(wrote)
			for i := range asked { // the one that has left comes first
				a.send(`{"type":"response","request_id":"` + asked[all-i].RequestID + `","status":200,"body":"` + body + `"}`)
			}
		}()
		go func() { _, _ = a.next("nothing") }() // pings
		reader := <-results
		bodies := []*http.Response{reader}
		for done := false; !done; {
			select {
			case res := <-results:
				bodies = append(bodies, res)
			case <-time.After(100 * time.Millisecond):
				done = len(bodies) == all
			}
			if unread := unreadOf(l); unread > limit+size+200 {
				t.Fatalf("%d bytes wait, with room for %d", unread, limit)
			}
			if n, err := reader.Body.Read(make([]byte, 10)); n != 10 || err != nil {
				t.Fatalf("who reads got %d bytes, %v", n, err)
			}
		}
		<-wrote
		<-time.After(2 * time.Second)
		_, _ = reader.Body.Read(make([]byte, 10))
		cut := 0
		for i, res := range bodies[1:] {
			got, err := io.ReadAll(res.Body)
			switch {
			case errors.Is(err, fault.ErrUnread):
				if cut++; i >= cut {
					t.Errorf("answer %d was cut, but an older one was not", i)
				}
			case err != nil || len(got) != size:
				t.Errorf("answer %d: %d bytes, %v", i, len(got), err)
			}
		}
		if cut < all-room-1 || cut > all-room+2 {
			t.Errorf("%d of %d were cut, with room for %d", cut, all, room)
		}
		for _, res := range bodies {
			_ = res.Body.Close()
			_ = res.Body.Close()
		}
		if unread := unreadOf(l); unread != 0 {
			t.Errorf("%d bytes wait for nobody", unread)
		}
	})
}

// An unpacked answer waits for room for 2 s at most. One that was left alone for a
// second makes some.
func TestJSONInflatedWaitsForRoom(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const size = 1 << 20
		// Room for one while it is unpacked, and for no second one beside it.
		l, a := meetJSON(t, link.JSONOptions{Budget: h2.NewBudget(5 * size / 2)})
		body := strings.Repeat("x", size-200)
		done := a.answering(func(m jsonRequest) string {
			return packed(m.RequestID, `{"type":"response","request_id":"`+m.RequestID+`","status":200,"body":"`+body+`"}`)
		})
		first, err := l.RoundTrip(newRequest(t, "GET", "/", nil))
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		second, err := l.RoundTrip(newRequest(t, "GET", "/", nil))
		if took := time.Since(began); err != nil || took < time.Second || took > 1100*time.Millisecond {
			t.Fatalf("the second one: %v after %s", err, took)
		}
		if _, err := first.Body.Read(make([]byte, 1)); !errors.Is(err, fault.ErrUnread) {
			t.Errorf("the first one: %v", err)
		}
		began = time.Now()
		third := ask(l, newRequest(t, "GET", "/", nil))
		for {
			select {
			case r := <-third:
				if took := time.Since(began); codeOf(r.err) != fault.FirstByteTimeout || took != 2*time.Second {
					t.Errorf("the third one: %v after %s", r.err, took)
				}
			case <-time.After(100 * time.Millisecond):
				if n, err := second.Body.Read(make([]byte, 10)); n != 10 || err != nil {
					t.Fatalf("who reads got %d bytes, %v", n, err)
				}
				continue
			}
			break
		}
		_ = first.Body.Close()
		_ = second.Body.Close()
		if unread := unreadOf(l); unread != 0 {
			t.Errorf("%d bytes wait for nobody", unread)
		}
		l.Close(link.ReasonDraining)
		done.Wait()
	})
}

// writer stands for who writes an answer to its caller.
type writer struct{ cut chan error }

func (w writer) Cut(cause error) { w.cut <- cause }

// Who writes the large header of an answer that is cut is told: the header is not
// free while it waits there.
func TestJSONLargeHeaderIsCut(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const size = 40 << 10
		l, a := meetJSON(t, link.JSONOptions{Budget: h2.NewBudget(size + size/2)})
		done := a.answering(func(m jsonRequest) string {
			return `{"type":"response","request_id":"` + m.RequestID + `","status":200,"headers":{"x":"` + strings.Repeat("x", size) + `"}}`
		})
		var cuts []chan error
		for range 2 {
			w := writer{make(chan error, 1)}
			if _, err := l.RoundTrip(newRequest(t, "GET", "/", nil).WithContext(fault.WithCutter(t.Context(), w))); err != nil {
				t.Fatal(err)
			}
			cuts = append(cuts, w.cut)
			<-time.After(time.Millisecond)
		}
		<-time.After(2 * time.Second)
		synctest.Wait()
		if len(cuts[0]) != 1 || len(cuts[1]) != 0 {
			t.Errorf("cut: the first %d times, the second %d", len(cuts[0]), len(cuts[1]))
		}
		l.Close(link.ReasonDraining)
		done.Wait()
	})
}
