package ingress

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSessionIsKeptFromAgents(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name  string
		input []string
		want  []string
	}{
		{"none", nil, nil},
		{"others", []string{"a=1; b=2"}, []string{"a=1; b=2"}},
		{"alone", []string{"__Host-bindu_session=x"}, nil},
		{"first", []string{"__Host-bindu_session=x; a=1; b=2"}, []string{"a=1; b=2"}},
		{"in the middle", []string{"a=1; __Host-bindu_session=x; b=2"}, []string{"a=1; b=2"}},
		{"last", []string{"a=1; b=2; __Host-bindu_session=x"}, []string{"a=1; b=2"}},
		{"twice", []string{"__Host-bindu_session=x; a=1; __Host-bindu_session=y"}, []string{"a=1"}},
		{"no value", []string{"a=1; __Host-bindu_session="}, []string{"a=1"}},
		{"no equals sign", []string{"a=1; __Host-bindu_session"}, []string{"a=1"}},
		{"on one of several lines", []string{"a=1", "__Host-bindu_session=x", "b=2"}, []string{"a=1", "b=2"}},
		{"white space around the name", []string{"a=1;\t __Host-bindu_session \t= x;b=2"}, []string{"a=1;b=2"}},
		{"no space between", []string{"a=1;__Host-bindu_session=x;b=2"}, []string{"a=1;b=2"}},
		{"empty pairs", []string{";; __Host-bindu_session=x ;;"}, []string{";;;"}},
		{"a cookie without a name", []string{"=__Host-bindu_session=x; a=1"}, []string{"a=1"}},
		{"another case is another name", []string{"__host-bindu_session=x; __Host-Bindu_Session=y"}, []string{"__host-bindu_session=x; __Host-Bindu_Session=y"}},
		{"part of a name", []string{"x__Host-bindu_session=1; __Host-bindu_session2=2"}, []string{"x__Host-bindu_session=1; __Host-bindu_session2=2"}},
		{"a value that says so", []string{"a=__Host-bindu_session=x"}, []string{"a=__Host-bindu_session=x"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			var got []string
			h := serving(func(req *http.Request) (*http.Response, error) {
				got = req.Header["Cookie"]
				return answerOf(http.Header{}, ""), nil
			}, "")
			r := httptest.NewRequest(http.MethodGet, "/local_tunnel/s/", nil)
			if row.input != nil {
				r.Header["Cookie"] = row.input
			}
			h.ServeHTTP(httptest.NewRecorder(), r)
			if diff := cmp.Diff(row.want, got); diff != "" {
				t.Errorf("the agent gets (-want +got):\n%s", diff)
			}
			if row.input != nil {
				if diff := cmp.Diff(row.input, r.Header["Cookie"]); diff != "" {
					t.Errorf("the caller's own header changed (-want +got):\n%s", diff)
				}
			}
		})
	}
}

func TestAgentsSetNoSession(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name  string
		input []string
		want  []string
	}{
		{"others", []string{"a=1; Secure"}, []string{"a=1; Secure"}},
		{"alone", []string{"__Host-bindu_session=evil; Path=/; Secure"}, nil},
		{"beside others", []string{"a=1", "__Host-bindu_session=evil", "b=2"}, []string{"a=1", "b=2"}},
		{"white space", []string{" \t__Host-bindu_session\t =evil"}, nil},
		{"no value", []string{"__Host-bindu_session"}, nil},
		{"empty", []string{"__Host-bindu_session=; Max-Age=0"}, nil},
		{"the value of a cookie without a name", []string{"=__Host-bindu_session=evil", " = __Host-bindu_session"}, nil},
		{"another case", []string{"__host-bindu_session=x"}, []string{"__host-bindu_session=x"}},
		{"a value that says so", []string{"a=__Host-bindu_session=evil"}, []string{"a=__Host-bindu_session=evil"}},
		{"an attribute that says so", []string{"a=1; __Host-bindu_session=evil"}, []string{"a=1; __Host-bindu_session=evil"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			h := http.Header{"Set-Cookie": row.input}
			dropSetSession(h)
			if diff := cmp.Diff(row.want, h["Set-Cookie"]); diff != "" {
				t.Errorf("the caller gets (-want +got):\n%s", diff)
			}
		})
	}
}

func TestOtherCookiesCostNothing(t *testing.T) {
	h := http.Header{"Cookie": {"a=1; b=2", "c=3"}, "Set-Cookie": {"a=1"}}
	if n := testing.AllocsPerRun(100, func() { dropSession(h); dropSetSession(h) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
