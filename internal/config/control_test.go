package config

import (
	"errors"
	"testing"

	"github.com/alecthomas/kong"
)

func loadControl(vars map[string]string, args ...string) (*Control, error) {
	var c Control
	l := NewLoader(LoaderOptions{LookupEnv: env(vars)})
	k, err := kong.New(&c, l)
	if err != nil {
		return nil, err
	}
	if _, err := k.Parse(args); err != nil {
		return nil, l.Explain(err)
	}
	return &c, c.Finish(l)
}

func TestControlDefaults(t *testing.T) {
	c, err := loadControl(nil)
	if err != nil {
		t.Fatal(err)
	}
	if c.Addr() != "0.0.0.0:8000" || c.DataDir != "data" || c.RequireEdgeKey || !c.DatabaseURL.IsZero() || !c.AdminAPIKey.IsZero() {
		t.Errorf("defaults: %+v", c)
	}
}

func TestControlSecrets(t *testing.T) {
	url := "postgres://ann:secret@db/tunnels"
	c, err := loadControl(map[string]string{"DATABASE_URL_FILE": write(t, "url", url+"\n"), "ADMIN_API_KEY_FILE": write(t, "key", "bek_x\n")})
	if err != nil || c.DatabaseURL.Reveal() != url || c.AdminAPIKey.Reveal() != "bek_x" {
		t.Errorf("%+v, %v", c, err)
	}
	for _, row := range []struct {
		name  string
		input map[string]string
		want  string
	}{
		{"another database", map[string]string{"DATABASE_URL": "mysql://ann:secret@db"}, "DATABASE_URL: must begin with postgres:// (for SQLite leave it out and set DATA_DIR)"},
		{"no such file", map[string]string{"ADMIN_API_KEY_FILE": "/nowhere"}, "ADMIN_API_KEY_FILE: /nowhere can't be read: no such file or directory"},
		{"both", map[string]string{"DATABASE_URL": url, "DATABASE_URL_FILE": "x"}, "DATABASE_URL_FILE: given together with DATABASE_URL: use one of the two"},
	} {
		_, err := loadControl(row.input)
		var setting *SettingError
		if !errors.As(err, &setting) || err.Error() != row.want {
			t.Errorf("%s: %v, want %s", row.name, err, row.want)
		}
	}
}
