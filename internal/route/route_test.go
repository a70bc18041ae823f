package route_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/getbindu/bindu-edge/internal/route"
	"github.com/getbindu/bindu-edge/internal/tunnel"
)

// unasked is a registry, and pods, that nobody may have to do with.
type unasked struct{ t *testing.T }

func (u unasked) Owner(context.Context, tunnel.ID) (tunnel.Claim, bool, error) {
	u.t.Error("the registry was asked who holds the tunnel")
	return tunnel.Claim{}, false, nil
}

func (u unasked) OwnerNow(ctx context.Context, id tunnel.ID) (tunnel.Claim, bool, error) {
	return u.Owner(ctx, id)
}

func (u unasked) Expected(context.Context, tunnel.ID) (time.Duration, error) {
	u.t.Error("the registry was asked whether the tunnel is expected")
	return 0, nil
}

func (u unasked) To(pod tunnel.PodID, _ tunnel.ID) http.RoundTripper {
	u.t.Errorf("led to pod %s", pod)
	return try(answers)
}

// A link on this pod is all that its requests need, and another try of theirs.
func TestRepeat(t *testing.T) {
	for _, row := range []struct {
		name  string
		tries []try // of the links that are found, one after another
		want  error // nil: the answer holds the whole upload
		tried int
	}{
		{"answered", []try{answers}, nil, 1},
		{"never seen, then answered", []try{fails(unseen), answers}, nil, 2},
		{"never seen twice, then answered", []try{fails(unseen), fails(unseen), answers}, nil, 3},
		{"never seen three times, then answered", []try{fails(unseen), fails(unseen), fails(unseen), answers}, nil, 4},
		{"never seen four times", []try{fails(unseen), fails(unseen), fails(unseen), fails(unseen), answers}, unseen, 4},
		{"no proof", []try{fails(lost), answers}, lost, 1},
		{"no code", []try{fails(errPlain), answers}, errPlain, 1},
		{"proof, then none", []try{fails(unseen), fails(lost), answers}, lost, 2},
		{"full: another link is no better", []try{fails(full), answers}, full, 1},
		{"offline without proof", []try{fails(offline), answers}, offline, 1},
		{"the caller left", []try{fails(errLeft), answers}, errLeft, 1},
	} {
		for _, withBody := range []bool{true, false} {
			t.Run(row.name, func(t *testing.T) {
				tried := 0
				h := fakeHub{find: func() http.RoundTripper { tried++; return row.tries[tried-1] }}
				req, body := request(t, withBody)
				res, err := route.New(route.Options{Pod: here, Hub: h, Registry: unasked{t}, Peers: unasked{t}}).Route(id).RoundTrip(req)
				if !errors.Is(err, row.want) || tried != row.tried {
					t.Fatalf("%v after %d tries, want %v after %d", err, tried, row.want, row.tried)
				}
				if withBody && body.closed != 1 {
					t.Errorf("the body was closed %d times", body.closed)
				}
				if err == nil {
					if got, _ := io.ReadAll(res.Body); withBody && string(got) != upload {
						t.Errorf("the agent got %q", got)
					}
				}
			})
		}
	}
}

// A byte of the body is gone with the link that took it, whatever that claims.
func TestNoRepeatOfAReadBody(t *testing.T) {
	tried := 0
	h := fakeHub{find: func() http.RoundTripper { tried++; return failsAfterAByte(unseen) }}
	req, body := largeRequest(t)
	if _, err := route.New(route.Options{Pod: here, Hub: h, Registry: unasked{t}, Peers: unasked{t}}).Route(id).RoundTrip(req); !errors.Is(err, unseen) || tried != 1 {
		t.Errorf("%v after %d tries", err, tried)
	}
	if body.closed != 1 {
		t.Errorf("the body was closed %d times", body.closed)
	}
}

// An answer may come before the end of the upload, whose Close follows later.
func TestUploadOutlivesTheAnswer(t *testing.T) {
	var lent io.ReadCloser
	h := fakeHub{find: func() http.RoundTripper {
		return try(func(r *http.Request) (*http.Response, error) {
			lent = r.Body
			return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody}, nil
		})
	}}
	req, body := request(t, true)
	if _, err := route.New(route.Options{Pod: here, Hub: h, Registry: unasked{t}, Peers: unasked{t}}).Route(id).RoundTrip(req); err != nil {
		t.Fatal(err)
	}
	if body.closed != 0 {
		t.Fatal("closed while the link has it")
	}
	if got, err := io.ReadAll(lent); string(got) != upload || err != nil {
		t.Errorf("the rest of the upload: %q, %v", got, err)
	}
	_ = lent.Close()
	if body.closed != 1 {
		t.Errorf("the body was closed %d times", body.closed)
	}
}
