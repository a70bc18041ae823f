package planeclient

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

// Key is an API key as the control plane shows it.
type Key struct {
	ID         string    `json:"id"`
	Name       string    `json:"name"`
	Role       string    `json:"role"` // admin, operator, viewer or edge
	CreatedAt  time.Time `json:"created_at"`
	LastUsedAt time.Time `json:"last_used_at"` // zero = never
	RevokedAt  time.Time `json:"revoked_at"`   // zero = not
	Secret     string    `json:"key"`          // only where it is made

	Raw json.RawMessage `json:"-"` // the answer itself
}

// UnmarshalJSON keeps the text too, for those who want it as it came.
func (k *Key) UnmarshalJSON(text []byte) error {
	type plain Key
	if err := json.Unmarshal(text, (*plain)(k)); err != nil {
		return err
	}
	if k.ID == "" {
		return fmt.Errorf("a key without id")
	}
	k.Raw = bytes.Clone(text)
	return nil
}

const keys = "keys"

// CreateKey makes an API key. once makes it one key, however often it is asked
// for within 24 hours.
func (c *Client) CreateKey(ctx context.Context, name, role, once string) (Key, error) {
	var k Key
	wish := map[string]string{"name": name, "role": role}
	_, err := c.ask(ctx, question{method: http.MethodPost, path: []string{keys}, body: wish, once: once}, &k)
	return k, about("create key", err)
}

// ListKeys gives all keys, by creation.
func (c *Client) ListKeys(ctx context.Context) ([]Key, error) {
	var answer struct {
		Keys []Key `json:"keys"`
	}
	if _, err := c.ask(ctx, question{method: http.MethodGet, path: []string{keys}}, &answer); err != nil {
		return nil, about("list keys", err)
	}
	if answer.Keys == nil {
		return nil, about("list keys", &ForeignError{Status: http.StatusOK, Reason: "the answer lists no keys"})
	}
	return answer.Keys, nil
}

// RevokeKey ends a key.
func (c *Client) RevokeKey(ctx context.Context, id string) error {
	_, err := c.ask(ctx, question{method: http.MethodDelete, path: []string{keys, id}}, nil)
	return about("revoke key", err)
}
