package scenario

import (
	"context"
	"net/http"

	"github.com/getbindu/bindu-edge/bench/stage"
)

// tunnelOf has the control plane make a tunnel; members are the request's, as JSON.
func tunnelOf(ctx context.Context, c *stage.Control, members string) (t stage.Tunnel, err error) {
	return t, ask(ctx, c, http.MethodPost, "/api/v1/tunnels", "{"+members+"}", &t)
}

// edgeKey has it make the key that a pod follows its events with.
func edgeKey(ctx context.Context, c *stage.Control) (string, error) {
	var made struct {
		Key string `json:"key"`
	}
	return made.Key, ask(ctx, c, http.MethodPost, "/api/v1/keys", `{"name":"edges","role":"edge"}`, &made)
}
