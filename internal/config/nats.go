package config

import (
	"errors"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// checkNATS refuses what the bus's client would take for a host name that nobody
// has, and try for ever.
func (e *Edge) checkNATS(l *Loader) error {
	if e.NATSURL.IsZero() {
		if e.Relay == "nats" {
			return &SettingError{l.Name("RELAY"), "nats needs a server: set NATS_URL"}
		}
		return nil
	}
	if err := natsServers(e.NATSURL.Reveal()); err != nil {
		name := "NATS_URL"
		if e.NATSURLFile != "" {
			name = "NATS_URL_FILE"
		}
		return &SettingError{l.Name(name), err.Error()}
	}
	return nil
}

// natsServers reads a list of servers. What it says against one shows nothing of
// it: there may be a password in it.
func natsServers(list string) error {
	const want = "use one like nats://host:4222 or tls://user:password@host:4222, several comma separated"
	servers := 0
	for server := range strings.SplitSeq(list, ",") {
		if server = strings.TrimSpace(server); server == "" {
			continue
		}
		servers++
		if !strings.Contains(server, "://") {
			server = "nats://" + server
		}
		u, err := url.Parse(server)
		if err != nil || !slices.Contains([]string{"nats", "tls", "ws", "wss"}, u.Scheme) {
			return errors.New("not the URL of a NATS server: " + want)
		}
		if _, ok := cleanHost(u.Hostname()); !ok {
			return errors.New("a URL without a usable host: " + want)
		}
		if port := u.Port(); port != "" || strings.HasSuffix(u.Host, ":") {
			if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
				return errors.New("a URL without a usable port: use 1 to 65535")
			}
		}
	}
	if servers == 0 {
		return errors.New("names no server: " + want)
	}
	return nil
}
