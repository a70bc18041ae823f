package config

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"syscall"
)

// Finish ends what parsing began: it reads the secrets' files and refuses
// settings that are right one by one but not together. Call it once, before
// the first use; its error is a *SettingError.
func (e *Edge) Finish(l *Loader) error {
	if err := e.readSecrets(l); err != nil {
		return err
	}
	for _, rule := range []func(*Loader) error{e.checkListeners, e.checkDoor, e.checkPeers} {
		if err := rule(l); err != nil {
			return err
		}
	}
	return nil
}

func (e *Edge) readSecrets(l *Loader) error {
	return l.readSecrets([]secretFile{
		{"CONTROL_PLANE_TOKEN", &e.ControlPlaneToken, e.ControlPlaneTokenFile},
		{"REDIS_PASSWORD", &e.RedisPassword, e.RedisPasswordFile},
		{"PEER_SECRET", &e.PeerSecret, e.PeerSecretFile},
		{"NATS_URL", &e.NATSURL, e.NATSURLFile},
	})
}

// secretFile is a secret that may stand in a file.
type secretFile struct {
	setting string
	value   *Secret
	file    string
}

func (l *Loader) readSecrets(all []secretFile) error {
	for _, s := range all {
		if s.file == "" {
			continue
		}
		name := l.Name(s.setting + "_FILE")
		if !s.value.IsZero() {
			return &SettingError{name, fmt.Sprintf("given together with %s: use one of the two", l.Name(s.setting))}
		}
		secret, err := ReadSecretFile(s.file)
		if err != nil {
			return &SettingError{name, err.Error()}
		}
		if flag, ok := l.flags[flagName(s.setting)]; ok {
			if err := longEnough(secret.Reveal(), flag.Tag); err != nil {
				return &SettingError{name, fmt.Sprintf("%s: %s", show(s.file), err)}
			}
		}
		*s.value = secret
	}
	return nil
}

// checkListeners finds two listeners of this pod on one port. Two different
// addresses may share one, but not with every address on either side.
func (e *Edge) checkListeners(l *Loader) error {
	if clash(e.AdminAddr, e.Addr()) {
		return &SettingError{l.Name("ADMIN_ADDR"), fmt.Sprintf("port %d is taken by the public listener (PORT): use another", e.Port)}
	}
	if !e.hasPeers() {
		return nil
	}
	if clash(e.PeerAddr, e.Addr()) {
		return &SettingError{l.Name("PEER_ADDR"), fmt.Sprintf("port %d is taken by the public listener (PORT): use another", e.Port)}
	}
	if clash(e.PeerAddr, e.AdminAddr) {
		return &SettingError{l.Name("PEER_ADDR"), "the same port as ADMIN_ADDR: use another"}
	}
	return nil
}

func clash(a, b string) bool {
	hostA, portA, errA := net.SplitHostPort(a)
	hostB, portB, errB := net.SplitHostPort(b)
	if errA != nil || errB != nil || portA != portB || portA == "0" {
		return false // switched off, or any free port
	}
	every := func(host string) bool {
		ip := net.ParseIP(host)
		return host == "" || ip != nil && ip.IsUnspecified()
	}
	return hostA == hostB || every(hostA) || every(hostB)
}

// hasPeers says whether this pod opens a listener for other pods.
func (e *Edge) hasPeers() bool {
	return e.Relay == "direct" && (!e.PeerSecret.IsZero() || e.PeerTLSCertFile != "")
}

func (e *Edge) checkPeers(l *Loader) error {
	given, missing := "", ""
	for _, f := range []struct{ setting, path string }{
		{"PEER_TLS_CERT_FILE", e.PeerTLSCertFile}, {"PEER_TLS_KEY_FILE", e.PeerTLSKeyFile}, {"PEER_TLS_CA_FILE", e.PeerTLSCAFile},
	} {
		if f.path == "" {
			missing = f.setting
		} else {
			given = f.setting
		}
	}
	if given != "" && missing != "" {
		return &SettingError{l.Name(given), fmt.Sprintf("needs %s too: give certificate, key and authority together", missing)}
	}
	if given != "" && !e.PeerSecret.IsZero() {
		return &SettingError{l.Name(given), fmt.Sprintf("given together with %s: peers prove themselves by one of the two", l.Name("PEER_SECRET"))}
	}
	return e.checkNATS(l)
}

// checkDoor looks at how the public listener takes its connections.
func (e *Edge) checkDoor(l *Loader) error {
	switch {
	case e.TLSCertFile != "" && e.TLSKeyFile == "":
		return &SettingError{l.Name("TLS_CERT_FILE"), "needs TLS_KEY_FILE too: give certificate and key together"}
	case e.TLSCertFile == "" && e.TLSKeyFile != "":
		return &SettingError{l.Name("TLS_KEY_FILE"), "needs TLS_CERT_FILE too: give certificate and key together"}
	case e.ProxyProtocol && len(e.TrustedProxies) == 0:
		return &SettingError{l.Name("PROXY_PROTOCOL"), "needs TRUSTED_PROXIES: anybody could claim any address otherwise; set it to the load balancer's"}
	case e.RedirectHTTPPort == 0:
		return nil
	case e.TLSCertFile == "":
		return &SettingError{l.Name("REDIRECT_HTTP_PORT"), "needs TLS_CERT_FILE and TLS_KEY_FILE: there is nothing to redirect to"}
	}
	redirect := net.JoinHostPort(e.Host, strconv.Itoa(e.RedirectHTTPPort))
	for _, other := range []struct{ setting, address string }{{"PORT", e.Addr()}, {"ADMIN_ADDR", e.AdminAddr}} {
		if clash(redirect, other.address) {
			return &SettingError{l.Name("REDIRECT_HTTP_PORT"), fmt.Sprintf("the same port as %s: use another", other.setting)}
		}
	}
	if e.hasPeers() && clash(redirect, e.PeerAddr) {
		return &SettingError{l.Name("REDIRECT_HTTP_PORT"), "the same port as PEER_ADDR: use another"}
	}
	return nil
}

// flagName is the flag of a setting.
func flagName(setting string) string {
	return strings.ToLower(strings.ReplaceAll(setting, "_", "-"))
}

// NotThisHost reports whether a listener could not be opened for its host, whatever
// the port.
func NotThisHost(err error) bool {
	_, unknown := errors.AsType[*net.DNSError](err)
	return unknown || errors.Is(err, syscall.EADDRNOTAVAIL)
}
