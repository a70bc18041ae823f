package relay

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/getbindu/bindu-edge/internal/fault"
)

// carried is what readFault makes of what another pod's answer says.
type carried struct {
	Code                      fault.Code
	Status                    int
	Detail                    string
	RetryAfter                time.Duration
	Header                    http.Header
	NotDelivered, Misdirected bool
}

func read(status int, h http.Header) carried {
	err := readFault(&http.Response{StatusCode: status, Header: h, Body: http.NoBody})
	e := fault.From(err)
	return carried{
		e.Code, e.Status, e.Detail, e.RetryAfter, e.Header,
		errors.Is(err, fault.ErrNotDelivered), errors.Is(err, ErrMisdirected),
	}
}

// A pod of another version may say what this one does not know.
func TestReadFault(t *testing.T) {
	t.Parallel()
	const unknown = "The pod that holds this tunnel gave an error that this one does not know."
	for _, row := range []struct {
		name   string
		status int
		header http.Header
		want   carried
	}{
		{"the code alone", 403, http.Header{headerError: {"forbidden"}}, carried{Code: fault.Forbidden}},
		{"details", 429, http.Header{headerError: {"rate_limited"}, headerFault: {`{"detail":"x","retry_after_ms":1500,"more":1}`}},
			carried{Code: fault.RateLimited, Detail: "x", RetryAfter: 1500 * time.Millisecond}},
		{"details that can't be read", 403, http.Header{headerError: {"forbidden"}, headerFault: {`{"detail":1}`}}, carried{Code: fault.Forbidden}},
		{"more details than there may be", 403,
			http.Header{headerError: {"forbidden"}, headerFault: {`{"detail":"` + strings.Repeat("x", maxFault) + `"}`}}, carried{Code: fault.Forbidden}},
		{"an unknown code", 402, http.Header{headerError: {"payment_due"}}, carried{Code: fault.Internal, Detail: unknown}},
		{"an unknown code with proof", 402, http.Header{headerError: {"payment_due"}, headerRefused: {"1"}},
			carried{Code: fault.RelayUnavailable, Detail: unknown, NotDelivered: true}},
		{"misdirected", 421, http.Header{headerError: {"tunnel_offline"}, headerRefused: {"1"}},
			carried{Code: fault.TunnelOffline, NotDelivered: true, Misdirected: true}},
		{"misdirected without proof", 421, http.Header{headerError: {"tunnel_offline"}}, carried{Code: fault.TunnelOffline}},
		{"a status that is no error", 403, http.Header{headerError: {"forbidden"}, headerFault: {`{"status":200}`}}, carried{Code: fault.Forbidden}},
		{"time runs forwards", 429, http.Header{headerError: {"rate_limited"}, headerFault: {`{"retry_after_ms":-1}`}}, carried{Code: fault.RateLimited}},
		{"and not for ever", 429, http.Header{headerError: {"rate_limited"}, headerFault: {`{"retry_after_ms":9223372036854775807}`}},
			carried{Code: fault.RateLimited, RetryAfter: 24 * time.Hour}},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(row.want, read(row.status, row.header)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// What another pod says can't make an error that no door could show, and what
// this one writes is read as it was.
func FuzzReadFault(f *testing.F) {
	f.Add("forbidden", "1", `{"detail":"x","retry_after_ms":10,"status":418,"header":{"Allow":["GET"]}}`, 403)
	f.Add("tunnel_offline", "1", `{"status":99,"header":{"":[""]}}`, 421)
	f.Add("", "", "{", 200)
	f.Fuzz(func(t *testing.T, code, refused, details string, status int) {
		err := readFault(&http.Response{
			StatusCode: status, Body: http.NoBody,
			Header: http.Header{headerError: {code}, headerRefused: {refused}, headerFault: {details}},
		})
		e := fault.From(err)
		if s := e.Code.Status(); s < 400 || s > 599 {
			t.Errorf("code %q", e.Code)
		}
		if e.Status != 0 && (e.Status < 400 || e.Status > 599) {
			t.Errorf("status %d", e.Status)
		}
		if e.RetryAfter < 0 {
			t.Errorf("RetryAfter %s", e.RetryAfter)
		}
		if errors.Is(err, fault.ErrNotDelivered) != (refused != "") {
			t.Errorf("refused %q made %v", refused, err)
		}
		if len(details) > maxFault/8 {
			return // too long to be said again, escaped
		}
		w := httptest.NewRecorder()
		writeFault(w, err)
		again := fault.From(readFault(w.Result()))
		if diff := cmp.Diff([]any{e.Code, e.Status, e.Detail, e.RetryAfter, e.Header}, []any{again.Code, again.Status, again.Detail, again.RetryAfter, again.Header}, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("-written +read:\n%s", diff)
		}
	})
}
