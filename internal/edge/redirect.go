package edge

import (
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"

	"github.com/getbindu/bindu-edge/internal/config"
	"github.com/getbindu/bindu-edge/internal/fault"
	"github.com/getbindu/bindu-edge/internal/ops"
)

// redirect answers plain HTTP where the public is served over TLS: 308, which
// keeps method and body (RFC 9110, section 15.4.9). It sets no
// Strict-Transport-Security: what a tunnel's whole domain promises browsers for
// months is not a pod's to say.
type redirect struct {
	health *ops.Health
	host   string // for requests without one
	port   string // of the https URL; "" = its default
}

func newRedirect(cfg config.Edge, health *ops.Health) redirect {
	public := cfg.Public()
	port := public.Port()
	if cfg.PublicURL == nil {
		port = strconv.Itoa(cfg.Port)
	}
	if port == "443" {
		port = ""
	}
	return redirect{health: health, host: public.Hostname(), port: port}
}

func (d redirect) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Connection", "close") // whatever comes next goes elsewhere
	switch r.URL.EscapedPath() {
	case "/health/live":
		d.health.Live(w, r)
		return
	case "/health/ready":
		d.health.Ready(w, r)
		return
	}
	host, ok := hostname(r.Host)
	if !ok {
		fault.Write(w, r, fault.New(fault.BadRequest, "The Host field is not valid (RFC 9110, section 7.2)."))
		return
	}
	if host == "" {
		host = d.host
	}
	if d.port != "" {
		host = net.JoinHostPort(host, d.port)
	} else if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	location := "https://" + host
	if path := r.URL.EscapedPath(); path != "*" { // of OPTIONS
		location += path
	}
	if r.URL.RawQuery != "" || r.URL.ForceQuery {
		location += "?" + r.URL.RawQuery
	}
	w.Header().Set("Location", location)
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Vary", "Accept") // as all redirects of an edge
	w.WriteHeader(http.StatusPermanentRedirect)
}

// hostname is the host of a Host field without its port, if it is a name or an
// address at all; "" of an empty one.
func hostname(field string) (string, bool) {
	host := field
	if h, _, err := net.SplitHostPort(field); err == nil {
		host = h
	} else if inner, ok := strings.CutPrefix(field, "["); ok {
		host = strings.TrimSuffix(inner, "]")
	}
	if strings.Contains(host, ":") {
		addr, err := netip.ParseAddr(host)
		return host, err == nil && addr.Zone() == ""
	}
	odd := func(c rune) bool {
		return !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '.' || c == '_')
	}
	return host, len(host) <= 255 && !strings.ContainsFunc(host, odd)
}
