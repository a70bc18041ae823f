package resolve_test

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/getbindu/bindu-edge/internal/fault"
	"github.com/getbindu/bindu-edge/internal/resolve"
	"github.com/getbindu/bindu-edge/internal/tunnel"
)

func TestAwayServesWhatIsKnown(t *testing.T) {
	run(t, resolve.Options{}, func(t *testing.T, r *resolve.Resolver, s *source) {
		s.says(active("t", time.Hour), nil, 0)
		want(t, r, s, "t", "", 1)
		s.says(tunnel.Resolution{}, errAway, 0)
		advance(10*time.Minute - 1)
		want(t, r, s, "t", "", 1)
		advance(1)
		want(t, r, s, "", fault.ControlPlaneUnavailable, 0) // 10 minutes from the answer, not from the failure
	})
}

func TestAwayNeverServes(t *testing.T) {
	for _, row := range []struct {
		name string
		got  tunnel.Resolution
		err  error
		want fault.Code
	}{
		{"what ended meanwhile", tunnel.Resolution{Tunnel: "t", Status: "active", ExpiresAt: bubbleStart.Add(90 * time.Second)}, nil, fault.TunnelExpired},
		{"expired", tunnel.Resolution{Tunnel: "t", Status: "expired", ExpiresAt: bubbleStart.Add(time.Hour)}, nil, fault.TunnelExpired},
		{"revoked", tunnel.Resolution{Tunnel: "t", Status: "revoked", ExpiresAt: bubbleStart.Add(time.Hour)}, nil, fault.TunnelRevoked},
		{"unknown", tunnel.Resolution{}, tunnel.ErrUnknown, fault.ControlPlaneUnavailable},
	} {
		t.Run(row.name, func(t *testing.T) {
			run(t, resolve.Options{}, func(t *testing.T, r *resolve.Resolver, s *source) {
				// Known as active first, so that an older entry is there to be served by mistake.
				s.says(active("t", time.Hour), nil, 0)
				want(t, r, s, "t", "", 1)
				advance(time.Minute)
				s.says(row.got, row.err, 0)
				_, _ = r.Resolve(t.Context(), "slug")
				s.questions()
				s.says(tunnel.Resolution{}, errAway, 0)
				advance(time.Minute)
				want(t, r, s, "", row.want, 1)
				want(t, r, s, "", row.want, 0)
			})
		})
	}
}

// bubbleStart is when time starts in a synctest bubble.
var bubbleStart = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

func TestAwayDelaysAKnownSlugOnce(t *testing.T) {
	run(t, resolve.Options{}, func(t *testing.T, r *resolve.Resolver, s *source) {
		s.says(active("t", time.Hour), nil, 0)
		want(t, r, s, "t", "", 1)
		s.says(tunnel.Resolution{}, errAway, 10*time.Second)
		advance(time.Minute)

		began := time.Now()
		want(t, r, s, "t", "", 1)
		if waited := time.Since(began); waited != 2500*time.Millisecond {
			t.Errorf("the first request waited %v, want 2.5 s for a newer answer", waited)
		}
		// A request every 700 ms for two minutes: none waits, and the source is not hammered.
		began = time.Now()
		var questions int
		for range 170 {
			before := time.Now()
			if id, err := r.Resolve(t.Context(), "slug"); id != "t" || err != nil {
				t.Fatalf("Resolve = %q, %v", id, err)
			}
			if waited := time.Since(before); waited != 0 {
				t.Fatalf("a request waited %v, %v after the failure", waited, before.Sub(began))
			}
			advance(700 * time.Millisecond)
			questions += s.questions()
		}
		if questions < 10 || questions > 12 { // each takes 10 s and at least 1 s passes between two
			t.Errorf("%d questions in two minutes, want about 11", questions)
		}
	})
}

func TestASourceThatIsBackIsUsed(t *testing.T) {
	run(t, resolve.Options{}, func(t *testing.T, r *resolve.Resolver, s *source) {
		s.says(active("t", time.Hour), nil, 0)
		want(t, r, s, "t", "", 1)
		s.says(tunnel.Resolution{}, errAway, 0)
		advance(time.Minute)
		want(t, r, s, "t", "", 1)
		s.says(tunnel.Resolution{Tunnel: "t", Status: "revoked"}, nil, 0)
		want(t, r, s, "t", "", 0) // within a second of the failure nobody is asked
		advance(time.Second)
		want(t, r, s, "t", "", 1) // asked behind this answer
		want(t, r, s, "", fault.TunnelRevoked, 0)
	})
}

func TestAnOldFailureDoesNotExcuseAnOldAnswer(t *testing.T) {
	run(t, resolve.Options{}, func(t *testing.T, r *resolve.Resolver, s *source) {
		s.says(active("t", time.Hour), nil, 0)
		want(t, r, s, "t", "", 1)
		s.says(tunnel.Resolution{}, errAway, 0)
		advance(time.Minute)
		want(t, r, s, "t", "", 1)
		s.says(tunnel.Resolution{Tunnel: "t", Status: "revoked"}, nil, 0)
		advance(30 * time.Second)
		want(t, r, s, "", fault.TunnelRevoked, 1)
	})
}

func TestAwayWithNothingKnownIsAskedOncePerSecond(t *testing.T) {
	run(t, resolve.Options{}, func(t *testing.T, r *resolve.Resolver, s *source) {
		s.says(tunnel.Resolution{}, errAway, 0)
		want(t, r, s, "", fault.ControlPlaneUnavailable, 1)
		advance(time.Second - 1)
		want(t, r, s, "", fault.ControlPlaneUnavailable, 0)
		s.says(active("t", time.Hour), nil, 0)
		advance(1)
		want(t, r, s, "t", "", 1)
	})
}

func TestStaleAnswersAreLoggedNotOftenerThanEvery10Seconds(t *testing.T) {
	var log bytes.Buffer
	o := resolve.Options{Logger: slog.New(slog.NewTextHandler(&log, nil))}
	run(t, o, func(t *testing.T, r *resolve.Resolver, s *source) {
		s.says(active("t", time.Hour), nil, 0)
		want(t, r, s, "t", "", 1)
		s.says(tunnel.Resolution{}, errAway, 0)
		advance(time.Minute)
		for range 11 { // at 0, 1 … 10 s
			want(t, r, s, "t", "", 1)
			advance(time.Second)
		}
		if n := strings.Count(log.String(), errAway.Error()); n != 2 {
			t.Errorf("%d lines in 10 s, want 2:\n%s", n, &log)
		}
	})
}
