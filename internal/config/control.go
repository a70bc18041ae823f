package config

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// Control is every setting of one control plane.
type Control struct {
	Host           string         `setting:"HOST" type:"host" default:"0.0.0.0" group:"Listening" help:"Address to listen on: an IP address or a host name of this machine."`
	Port           int            `setting:"PORT" type:"port" default:"8000" group:"Listening" help:"Port to listen on: 1 to 65535."`
	TrustedProxies []netip.Prefix `setting:"TRUSTED_PROXIES" type:"prefixes" example:"10.0.0.0/8,192.0.2.7" group:"Listening" help:"Proxies whose X-Forwarded-For is believed: CIDRs or single addresses, comma separated. Default: nobody's."`

	DataDir         string `setting:"DATA_DIR" type:"path" placeholder:"DIR" default:"data" group:"Database" help:"Directory of the database bindu-edge.db; made if it is not there. A relative one is below the working directory."`
	DatabaseURL     Secret `setting:"DATABASE_URL" type:"secret" group:"Database" help:"PostgreSQL instead of the file in DATA_DIR: postgres://user:password@host:5432/name. Kept secret for its password."`
	DatabaseURLFile string `setting:"DATABASE_URL_FILE" type:"path" secret:"DATABASE_URL" group:"Database" help:"File that holds DATABASE_URL."`

	AdminAPIKeyFile string `setting:"ADMIN_API_KEY_FILE" type:"path" group:"Keys" help:"File that holds an admin's API key, which is made one at the start; see bindu-edge key generate. Without it the first start makes a key and prints it once."`
	RequireEdgeKey  bool   `setting:"REQUIRE_EDGE_KEY" type:"bool" default:"false" group:"Keys" help:"Answer the calls that every edge makes (resolve, validate) only with an API key of the role edge: CONTROL_PLANE_TOKEN of the edges."`

	EdgeURL *url.URL `setting:"EDGE_URL" type:"url" example:"https://edge.example.com" group:"Page" help:"URL of the edge, for the commands and addresses that the page shows. Default: a placeholder."`

	Logging `embed:"" group:"Logging"`

	AdminAPIKey Secret `kong:"-"` // what ADMIN_API_KEY_FILE holds, after Finish
}

// Addr is the address of the listener, host:port.
func (c *Control) Addr() string { return net.JoinHostPort(c.Host, strconv.Itoa(c.Port)) }

// Finish ends what parsing began: it reads the secrets' files and refuses what
// can't be right. Call it once, before the first use; its error is a
// *SettingError.
func (c *Control) Finish(l *Loader) error {
	if err := l.readSecrets([]secretFile{{"DATABASE_URL", &c.DatabaseURL, c.DatabaseURLFile}}); err != nil {
		return err
	}
	if url := c.DatabaseURL.Reveal(); url != "" && !strings.HasPrefix(url, "postgres://") && !strings.HasPrefix(url, "postgresql://") {
		return &SettingError{l.Name("DATABASE_URL"), "must begin with postgres:// (for SQLite leave it out and set DATA_DIR)"}
	}
	if c.AdminAPIKeyFile == "" {
		return nil
	}
	var err error
	if c.AdminAPIKey, err = ReadSecretFile(c.AdminAPIKeyFile); err != nil {
		return &SettingError{l.Name("ADMIN_API_KEY_FILE"), fmt.Sprint(err)}
	}
	return nil
}
