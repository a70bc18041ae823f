package ops

import (
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"github.com/getbindu/bindu-edge/internal/fault"
)

// private keeps web pages away from what has no password. A page that its reader
// opens may send requests to any address that the reader's machine reaches, a
// pod on that machine above all:
//
//   - A page of another site gets no answer to read, but a profile is work. Its
//     browser says where the request comes from (Origin, Sec-Fetch-Site).
//   - A page of a site whose name suddenly leads here (DNS rebinding) counts as
//     one of ours, and its browser says nothing. But the request's Host is then
//     that name, never an address and never localhost; and a browser is told
//     from a scraper by the fields that it always sends.
//
// A scraper may use any name, and a person with a browser an address. Health has
// nothing to hide, and is answered on the public listener too.
func private(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasPrefix(r.URL.Path, "/health/") {
			switch {
			case fromElsewhere(r):
				fault.Write(w, r, fault.New(fault.Forbidden, "Web pages of other sites get nothing here."))
				return
			case isBrowser(r) && !isAddress(r.Host):
				fault.Write(w, r, fault.New(fault.Forbidden, "A browser gets nothing here by name, which could lead here from any web page. Use the pod's address or localhost."))
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}

// fromElsewhere reports whether a browser says that another site's page wants
// this. A link that a person follows is fine: the page does not see the answer.
func fromElsewhere(r *http.Request) bool {
	if origin := r.Header.Get("Origin"); origin != "" {
		u, err := url.Parse(origin)
		return err != nil || !strings.EqualFold(u.Host, r.Host)
	}
	switch r.Header.Get("Sec-Fetch-Site") {
	case "cross-site", "same-site":
		return r.Header.Get("Sec-Fetch-Mode") != "navigate" || r.Header.Get("Sec-Fetch-Dest") != "document"
	}
	return false
}

// isBrowser looks for what browsers send with every request and scripts in them
// can't remove: https://fetch.spec.whatwg.org/#http-network-or-cache-fetch.
func isBrowser(r *http.Request) bool {
	for _, name := range []string{"Accept-Language", "Origin", "Sec-Fetch-Site", "Sec-Fetch-Mode"} {
		if _, sent := r.Header[name]; sent {
			return true
		}
	}
	return strings.HasPrefix(r.UserAgent(), "Mozilla/")
}

// isAddress reports whether nobody else can make host lead here.
func isAddress(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.ToLower(strings.TrimSuffix(strings.Trim(host, "[]"), "."))
	_, err := netip.ParseAddr(host)
	return err == nil || host == "localhost" || strings.HasSuffix(host, ".localhost")
}
