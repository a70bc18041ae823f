package planeclient

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// answers is a transport without a network.
type answers func(try int, req *http.Request) (*http.Response, error)

type transport struct {
	answer answers
	tries  int
}

func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	t.tries++
	return t.answer(t.tries, req)
}

// lost is what net/http says when a connection ends between question and answer.
func lost(req *http.Request) (*http.Response, error) {
	httptrace.ContextClientTrace(req.Context()).WroteHeaders()
	return nil, io.ErrUnexpectedEOF
}

func say(status int, kind, body string) (*http.Response, error) {
	return &http.Response{
		StatusCode: status, Header: http.Header{"Content-Type": {kind}}, Body: io.NopCloser(strings.NewReader(body)),
	}, nil
}

const (
	asJSON    = "application/json"
	asProblem = "application/problem+json"
	oneTunnel = `{"tunnel_id":"t1","slug":"demo","later":{"x":1}}`
)

func withTransport(t *testing.T, a answers) (*Client, *transport) {
	t.Helper()
	tr := &transport{answer: a}
	c, err := New(Options{BaseURL: &url.URL{Scheme: "http", Host: "plane.test", Path: "/at/"}, Key: "bek_1", UserAgent: "test/1", Transport: tr})
	if err != nil {
		t.Fatal(err)
	}
	return c, tr
}

func TestCreateIsOneTunnelHoweverOftenItIsTried(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var seen []string
		c, tr := withTransport(t, func(try int, req *http.Request) (*http.Response, error) {
			body, _ := io.ReadAll(req.Body)
			seen = append(seen, strings.Join([]string{
				req.Method, req.URL.String(), req.Header.Get("Idempotency-Key"), req.Header.Get("Authorization"),
				req.Header.Get("Content-Type"), req.Header.Get("User-Agent"), string(body),
			}, " "))
			if try < 3 {
				return lost(req)
			}
			return say(201, asJSON, oneTunnel+"\n")
		})
		began := time.Now()
		got, err := c.CreateTunnel(t.Context(), Patch{"slug": "demo"}, "once-1")
		if err != nil {
			t.Fatal(err)
		}
		if got.ID != "t1" || got.Slug != "demo" || string(got.Raw) != oneTunnel {
			t.Errorf("got %+v, raw %s", got, got.Raw)
		}
		one := `POST http://plane.test/at/api/v1/tunnels once-1 Bearer bek_1 application/json test/1 {"slug":"demo"}`
		if diff := cmp.Diff([]string{one, one, one}, seen); diff != "" || tr.tries != 3 {
			t.Errorf("questions (-want +got):\n%s", diff)
		}
		if waited := time.Since(began); waited != 3*retryWait {
			t.Errorf("waited %s between the tries", waited)
		}
	})
}

func TestNoAnswer(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		input answers
		tries int
		lost  bool
		want  string
	}{
		{"refused", func(int, *http.Request) (*http.Response, error) { return nil, errors.New("connection refused") }, 1, false, "connection refused"},
		{"always lost", func(_ int, req *http.Request) (*http.Response, error) { return lost(req) }, 3, true, "unexpected EOF"},
		{"silent", func(_ int, req *http.Request) (*http.Response, error) {
			httptrace.ContextClientTrace(req.Context()).WroteHeaders()
			<-req.Context().Done()
			return nil, req.Context().Err()
		}, 1, true, "nothing within 10s: context deadline exceeded"},
		{"breaks off", func(_ int, req *http.Request) (*http.Response, error) {
			httptrace.ContextClientTrace(req.Context()).WroteHeaders()
			res, err := say(200, asJSON, `{"tunnel_id"`)
			res.Body = io.NopCloser(io.MultiReader(res.Body, broken{}))
			return res, err
		}, 3, true, "unexpected EOF"},
		{"proxy without a plane", func(int, *http.Request) (*http.Response, error) { return say(502, "text/html", "<h1>") }, 3, false, "502 Bad Gateway"},
		{"no database", func(int, *http.Request) (*http.Response, error) {
			return say(503, asProblem, `{"code":"control_plane_unavailable","detail":"No database."}`)
		}, 1, false, "No database."},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c, tr := withTransport(t, tt.input)
				_, err := c.RevokeTunnel(t.Context(), "t1")
				away, ok := errors.AsType[*AwayError](err)
				if !ok || away.Lost != tt.lost || away.Err.Error() != tt.want || tr.tries != tt.tries {
					t.Errorf("after %d tries: %v (lost: %v)", tr.tries, err, ok && away.Lost)
				}
			})
		})
	}
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func TestEndOfContextEndsTheTries(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		c, tr := withTransport(t, func(_ int, req *http.Request) (*http.Response, error) {
			time.AfterFunc(retryWait/2, cancel)
			return lost(req)
		})
		if _, err := c.ShowTunnel(ctx, "t1"); !errors.Is(err, context.Canceled) || tr.tries != 1 {
			t.Errorf("after %d tries: %v", tr.tries, err)
		}
	})
}

func TestDeleteAfterALostAnswer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		gone := func(req *http.Request) (*http.Response, error) {
			return say(404, asProblem, `{"code":"tunnel_not_found","detail":"No tunnel has this id."}`)
		}
		c, _ := withTransport(t, func(try int, req *http.Request) (*http.Response, error) {
			if try == 1 {
				return lost(req)
			}
			return gone(req)
		})
		if err := c.DeleteTunnel(t.Context(), "t1"); err != nil {
			t.Errorf("the second try finds nothing because the first deleted it: %v", err)
		}
		c, _ = withTransport(t, func(_ int, req *http.Request) (*http.Response, error) { return gone(req) })
		if err := c.DeleteTunnel(t.Context(), "t1"); !IsMissing(err) {
			t.Errorf("nothing there from the start: %v", err)
		}
	})
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	type answer struct {
		status     int
		kind, body string
	}
	refusal := func(e Error) string { return fmt.Sprintf("%+v", e) }
	tests := []struct {
		name  string
		input answer
		want  string
	}{
		{"wrong key", answer{401, asProblem, `{"code":"unauthorized","detail":"No."}`}, refusal(Error{Status: 401, Code: "unauthorized", Detail: "No."})},
		{
			"fields", answer{422, asProblem, `{"code":"bad_request","detail":"No.","errors":[{"location":"body.slug","message":"is taken"}]}`},
			refusal(Error{Status: 422, Code: "bad_request", Detail: "No.", Fields: []FieldError{{"body.slug", "is taken"}}}),
		},
		{"a web site", answer{200, "text/html", "<h1>"}, `not a control plane's answer (200 OK): the answer is "text/html" instead of application/json`},
		{"another API", answer{200, asJSON, `{"id":7}`}, "not a control plane's answer (200 OK): the answer can't be read: a tunnel without tunnel_id"},
		{"no JSON", answer{200, asJSON, `{`}, "not a control plane's answer (200 OK): the answer can't be read: unexpected end of JSON input"},
		{"another's 404", answer{404, "text/plain", "404 page not found"}, "not a control plane's answer (404 Not Found): no error of ours"},
		{"another's problem", answer{404, asProblem, `{"title":"x"}`}, "not a control plane's answer (404 Not Found): no error of ours"},
		{"elsewhere", answer{301, "text/html", ""}, "not a control plane's answer (301 Moved Permanently): it leads elsewhere, to https://other.test/"},
		{"too much", answer{200, asJSON, strings.Repeat(" ", MaxAnswerBytes+1)}, "not a control plane's answer (200 OK): the answer has more than 16777216 bytes"},
		{"long text", answer{500, asProblem, `{"code":"internal","detail":"` + strings.Repeat("ä", 1000) + `"}`}, refusal(Error{Status: 500, Code: "internal", Detail: strings.Repeat("ä", 150) + "…"})},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c, tr := withTransport(t, func(int, *http.Request) (*http.Response, error) {
				res, err := say(tt.input.status, tt.input.kind, tt.input.body)
				res.Header.Set("Location", "https://other.test/")
				return res, err
			})
			_, err := c.ShowTunnel(t.Context(), "t1")
			var got string
			if e, ok := errors.AsType[*Error](err); ok {
				got = refusal(*e)
			} else if e, ok := errors.AsType[*ForeignError](err); ok {
				got = e.Error()
			}
			if got != tt.want || tr.tries != 1 {
				t.Errorf("after %d tries\ngot  %.300s\nwant %.300s", tr.tries, got, tt.want)
			}
		})
	}
}

// A server that leads elsewhere does not learn the key for there.
func TestRedirectIsNotFollowed(t *testing.T) {
	t.Parallel()
	followed := false
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		followed = followed || r.URL.Path == "/elsewhere"
		http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
	}))
	defer s.Close()
	base, _ := url.Parse(s.URL)
	c, err := New(Options{BaseURL: base, Key: "bek_1"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, err = c.ListKeys(t.Context())
	if _, ok := errors.AsType[*ForeignError](err); !ok || followed {
		t.Errorf("followed: %v, error %v", followed, err)
	}
}

func TestListFollowsPages(t *testing.T) {
	t.Parallel()
	// Pages may be short or empty and have more behind them.
	pages := map[string]string{
		"":  `{"tunnels":[{"tunnel_id":"t1"},{"tunnel_id":"t2"}],"next":"a"}`,
		"a": `{"tunnels":[],"next":"b"}`,
		"b": `{"tunnels":[{"tunnel_id":"t3"}],"next":null}`,
	}
	tests := []struct {
		name  string
		input Filter
		ids   string
		next  string
		asked string
	}{
		{"all", Filter{Search: "x y", Status: "active", Connected: "true"}, "t1 t2 t3", "", "connected=true&limit=500&search=x+y&status=active; connected=true&cursor=a&limit=500&search=x+y&status=active; connected=true&cursor=b&limit=500&search=x+y&status=active"},
		{"some", Filter{Limit: 2}, "t1 t2", "a", "limit=2"},
		{"exactly all", Filter{Limit: 3}, "t1 t2 t3", "", "limit=3; cursor=a&limit=1; cursor=b&limit=1"},
		{"from the middle", Filter{Cursor: "a"}, "t3", "", "cursor=a&limit=500; cursor=b&limit=500"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var asked []string
			c, _ := withTransport(t, func(_ int, req *http.Request) (*http.Response, error) {
				asked = append(asked, req.URL.RawQuery)
				return say(200, asJSON, pages[req.URL.Query().Get("cursor")])
			})
			list, next, err := c.ListTunnels(t.Context(), tt.input)
			if err != nil {
				t.Fatal(err)
			}
			var ids []string
			for _, one := range list {
				ids = append(ids, one.ID)
			}
			got := []string{strings.Join(ids, " "), next, strings.Join(asked, "; ")}
			if diff := cmp.Diff([]string{tt.ids, tt.next, tt.asked}, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestListsOfNoControlPlane(t *testing.T) {
	t.Parallel()
	for name, body := range map[string]string{"circle": `{"tunnels":[],"next":"a"}`, "nothing": `{}`} {
		c, _ := withTransport(t, func(int, *http.Request) (*http.Response, error) { return say(200, asJSON, body) })
		_, _, err := c.ListTunnels(t.Context(), Filter{})
		if _, ok := errors.AsType[*ForeignError](err); !ok {
			t.Errorf("%s: %v", name, err)
		}
	}
	c, _ := withTransport(t, func(int, *http.Request) (*http.Response, error) { return say(404, asProblem, `{"code":"not_found"}`) })
	if _, err := c.ListKeys(t.Context()); IsMissing(err) || err == nil {
		t.Errorf("a control plane without keys is none: %v", err)
	}
}

// Whatever is typed as an id stays one part of the path.
func TestIDsInThePath(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, input, want string }{
		{"plain", "t1", "/at/api/v1/tunnels/t1/rotate"},
		{"slash", "a/../b", "/at/api/v1/tunnels/a%2F..%2Fb/rotate"},
		{"query", "a?b#c", "/at/api/v1/tunnels/a%3Fb%23c/rotate"},
		{"up", "..", ""},
		{"here", ".", ""},
		{"nothing", "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			asked := ""
			c, _ := withTransport(t, func(_ int, req *http.Request) (*http.Response, error) {
				asked = req.URL.EscapedPath()
				body, _ := io.ReadAll(req.Body)
				if string(body) != `{"overlap_seconds":90}` {
					t.Errorf("body %s", body)
				}
				return say(200, asJSON, oneTunnel)
			})
			_, err := c.RotateToken(t.Context(), tt.input, 90*time.Second, "")
			if asked != tt.want || IsMissing(err) != (tt.want == "") {
				t.Errorf("asked %q, error %v", asked, err)
			}
		})
	}
}

func TestKeys(t *testing.T) {
	t.Parallel()
	c, _ := withTransport(t, func(_ int, req *http.Request) (*http.Response, error) {
		switch req.Method + " " + req.URL.Path {
		case "POST /at/api/v1/keys":
			var wish map[string]string
			if err := json.NewDecoder(req.Body).Decode(&wish); err != nil || wish["name"] != "ci" || wish["role"] != "edge" {
				t.Errorf("wish %v, %v", wish, err)
			}
			return say(201, asJSON, `{"id":"k1","key":"bek_2","role":"edge"}`)
		case "DELETE /at/api/v1/keys/k1":
			return say(204, "", "")
		}
		return say(200, asJSON, `{"keys":[{"id":"k1","name":"ci","revoked_at":"2027-01-31T12:00:00Z"}]}`)
	})
	made, err := c.CreateKey(t.Context(), "ci", "edge", "once")
	if err != nil || made.ID != "k1" || made.Secret != "bek_2" {
		t.Errorf("made %+v, %v", made, err)
	}
	list, err := c.ListKeys(t.Context())
	if err != nil || len(list) != 1 || list[0].RevokedAt.IsZero() || !list[0].LastUsedAt.IsZero() || !json.Valid(list[0].Raw) {
		t.Errorf("listed %+v, %v", list, err)
	}
	if err := c.RevokeKey(t.Context(), "k1"); err != nil {
		t.Error(err)
	}
}

func TestNewNeedsAnAddress(t *testing.T) {
	t.Parallel()
	for _, input := range []*url.URL{nil, {}, {Scheme: "ftp", Host: "x"}, {Scheme: "http"}} {
		if _, err := New(Options{BaseURL: input}); err == nil {
			t.Errorf("%v is taken", input)
		}
	}
}
