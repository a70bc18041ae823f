package main

import (
	"errors"
	"io"
	"net/url"
	"strings"
	"testing"

	"github.com/getbindu/bindu-edge/internal/config"
)

// A host that is not this machine's is said to be that, and not looked for at one
// port after the other.
func TestDevHostElsewhere(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name  string
		input map[string]string
	}{
		{"any port", map[string]string{"HOST": "192.0.2.1"}}, // RFC 5737: nobody's
		{"a port of its own", map[string]string{"HOST": "192.0.2.1", "PORT": "8081"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			p := &process{strings.NewReader(""), io.Discard, io.Discard, config.NewLoader(config.LoaderOptions{
				LookupEnv: func(name string) (string, bool) { v, ok := row.input[name]; return v, ok },
			})}
			var grammar commands
			parser, err := newParser(&grammar, p)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := parser.Parse([]string{"dev"}); err != nil {
				t.Fatal(err)
			}
			_, err = grammar.Dev.listen(p, &url.URL{})
			if wrong, ok := errors.AsType[*config.SettingError](err); !ok || wrong.Name != "HOST" || !strings.HasPrefix(wrong.Msg, "not an address of this machine: use one that is") {
				t.Errorf("said %v", err)
			}
		})
	}
}
