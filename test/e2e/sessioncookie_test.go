package e2e

import (
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The cookie of the control plane's page passes in neither direction, over
// HTTP/1.1 and HTTP/2, to agents of both protocols.
func TestSessionCookieStaysOut(t *testing.T) {
	t.Parallel()
	saw := make(chan []string, 1)
	w := startWorld(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		saw <- r.Header["Cookie"]
		w.Header()["Set-Cookie"] = []string{
			"__Host-bindu_session=evil; Path=/; Secure", "mine=1", "=__Host-bindu_session=evil", " __Host-bindu_session =evil", "__Host-bindu_session",
		}
		if r.URL.Path == "/early" {
			w.WriteHeader(http.StatusEarlyHints)
		}
		_, _ = io.WriteString(w, "ok")
	}))
	other := w.plane.create(t, "")
	startAgent(t, w.edge, other, startOrigin(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		saw <- r.Header["Cookie"]
		w.Header().Set("Set-Cookie", "__Host-bindu_session=evil")
		_, _ = io.WriteString(w, "ok")
	})), "--protocol=json")

	h2 := callerH2(t)
	mine := []string{"mine=1; Path=/local_tunnel/" + string(w.cred.slug)}
	for _, row := range []struct {
		name   string
		caller *http.Client
		url    string
		sent   []string
		want   []string
		set    []string
	}{
		{"HTTP/1.1", client, w.url("/"), []string{"a=1; __Host-bindu_session=secret; b=2"}, []string{"a=1; b=2"}, mine},
		{"alone", client, w.url("/"), []string{"__Host-bindu_session=secret"}, nil, mine},
		{"HTTP/1.1, several fields", client, w.url("/"), []string{"a=1", "__Host-bindu_session=secret"}, []string{"a=1"}, mine},
		{"HTTP/2, several fields", h2, w.url("/"), []string{"a=1", "__Host-bindu_session=secret", "b=2"}, []string{"a=1; b=2"}, mine},
		{"an early answer", client, w.url("/early"), []string{"__Host-bindu_session=secret"}, nil, mine},
		{"JSON", client, w.edge.path(other, "/"), []string{"__Host-bindu_session=secret; b=2"}, []string{"b=2"}, nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			early := 0
			ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{Got1xxResponse: func(_ int, header textproto.MIMEHeader) error {
				early++
				if set := header["Set-Cookie"]; len(set) != 1 || !strings.HasPrefix(set[0], "mine=1") {
					t.Errorf("an early answer sets %q", set)
				}
				return nil
			}})
			req := request(ctx, t, http.MethodGet, row.url, nil)
			req.Header["Cookie"] = row.sent
			res, err := row.caller.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = res.Body.Close() }()
			_, _ = io.Copy(io.Discard, res.Body)
			if diff := cmp.Diff(row.want, receive(t, "the request arrives", saw)); diff != "" {
				t.Errorf("the agent's server sees (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(row.set, res.Header["Set-Cookie"]); diff != "" {
				t.Errorf("the caller is to keep (-want +got):\n%s", diff)
			}
			if wanted := strings.HasSuffix(row.url, "/early"); wanted != (early == 1) {
				t.Errorf("%d early answers", early)
			}
		})
	}
}
