package ingress

import (
	"net/http"
	"strings"
)

// sessionCookie is what the control plane's page knows its user by. The page may
// stand on the same host as tunnels do, and a browser then sends the cookie to
// both: no agent may see it, and none may set it.
//
// Browsers tell names apart by case. What differs from the name by white space
// alone, or stands in the value of a cookie without a name, reads as the same to
// some, and is treated so.
const sessionCookie = "__Host-bindu_session"

// dropSession takes the cookie out of a request's header, and leaves the others
// as they are.
func dropSession(h http.Header) {
	lines := h["Cookie"]
	found := false
	for _, line := range lines {
		found = found || strings.Contains(line, sessionCookie)
	}
	if !found {
		return
	}
	kept := make([]string, 0, len(lines)) // the caller's is not ours to change
	for _, line := range lines {
		if line = withoutSession(line); line != "" {
			kept = append(kept, line)
		}
	}
	if len(kept) == 0 {
		delete(h, "Cookie")
		return
	}
	h["Cookie"] = kept
}

// withoutSession is one line of cookies (RFC 6265, section 4.2.1) without ours.
func withoutSession(line string) string {
	if !strings.Contains(line, sessionCookie) {
		return line
	}
	var kept []string
	for pair := range strings.SplitSeq(line, ";") {
		if !isSession(pair) {
			kept = append(kept, pair)
		}
	}
	return strings.TrimLeft(strings.Join(kept, ";"), " \t")
}

// dropSetSession takes what would set the cookie out of an answer's header.
func dropSetSession(h http.Header) {
	lines := h["Set-Cookie"]
	found := false
	for _, line := range lines {
		found = found || strings.Contains(line, sessionCookie)
	}
	if !found {
		return
	}
	kept := make([]string, 0, len(lines))
	for _, line := range lines {
		pair, _, _ := strings.Cut(line, ";")
		if !isSession(pair) {
			kept = append(kept, line)
		}
	}
	if len(kept) == 0 {
		delete(h, "Set-Cookie")
		return
	}
	h["Set-Cookie"] = kept
}

// isSession reports whether name=value is the cookie. A browser sends "=a=b" and
// "a" back as "a=b" and "a" (RFC 6265, section 5.2, step 3, as they took it).
func isSession(pair string) bool {
	name, _, _ := strings.Cut(strings.TrimLeft(pair, "= \t\r\n\v\f\x00"), "=")
	return strings.TrimRight(name, " \t\r\n\v\f\x00") == sessionCookie
}
