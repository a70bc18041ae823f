// Package config is the one declaration of everything an operator can set, and
// the way from a flag, an environment variable or a line of a YAML file to a
// typed value. It decides what a value may be and which source wins (flag over
// environment over file over default). It never opens a connection, starts
// nothing and never prints a secret. Its input comes from the operator: trusted
// in intent, but not in spelling, so that whatever can't be right is refused
// with one line which names the setting as it was given.
package config

//go:generate go test -run TestDocumentation -update .

import (
	"fmt"
	"net"
	"net/url"
	"strconv"

	"github.com/alecthomas/kong"
)

// Edge is every setting of one edge pod, grouped as in the documentation. The
// fields of the groups are promoted: cfg.Port, cfg.RequestTimeout.
type Edge struct {
	ConfigFile string `name:"config" setting:"CONFIG_FILE" type:"path" group:"Settings file" help:"YAML file of settings, at most 1 MiB: one flat map of the names in lower case. Flags and environment win over it."`

	Listening    `embed:"" group:"Listening"`
	ControlPlane `embed:"" group:"Control plane"`
	Registry     `embed:"" group:"Registry"`
	Links        `embed:"" group:"Links"`
	Requests     `embed:"" group:"Requests"`
	Limits       `embed:"" group:"Limits"`
	Peers        `embed:"" group:"Peers"`
	Logging      `embed:"" group:"Logging"`
}

// Addr is the address of the public listener, host:port.
func (l *Listening) Addr() string { return net.JoinHostPort(l.Host, strconv.Itoa(l.Port)) }

// Public is the URL under which callers reach this edge, without a slash at its
// end: PUBLIC_URL, or when that is not set http://localhost:{PORT}, with TLS
// https. The caller owns the copy.
func (l *Listening) Public() *url.URL {
	if l.PublicURL != nil {
		u := *l.PublicURL
		return &u
	}
	scheme := "http"
	if l.TLSCertFile != "" {
		scheme = "https"
	}
	return &url.URL{Scheme: scheme, Host: fmt.Sprintf("localhost:%d", l.Port)}
}

// Default is every setting at its default, with nothing read from anywhere.
func Default() Edge {
	var e Edge
	l := NewLoader(LoaderOptions{LookupEnv: func(string) (string, bool) { return "", false }})
	k, err := kong.New(&e, l)
	if err == nil {
		_, err = k.Parse(nil)
	}
	if err != nil {
		panic("config: the declaration is wrong: " + err.Error())
	}
	return e
}
