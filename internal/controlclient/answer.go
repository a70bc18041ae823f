package controlclient

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
	"unicode/utf8"

	"github.com/getbindu/bindu-edge/internal/tunnel"
)

// Nothing of an answer's text goes into an error: it may repeat the token.

// readValidation lets pass only a tunnel that is the one asked for, valid,
// active and not past its end.
func readValidation(code int, body []byte, asked tunnel.ID, now time.Time) (tunnel.Grant, error) {
	o, err := readAnswer(code, body)
	if err != nil {
		return tunnel.Grant{}, err
	}
	valid, err := field[bool](o, "valid")
	if err != nil {
		return tunnel.Grant{}, err
	}
	id, status, end, err := o.tunnel()
	if err != nil && !valid {
		return tunnel.Grant{}, tunnel.ErrUnauthorized // a refusal takes less proof than a pass
	}
	if err != nil {
		return tunnel.Grant{}, err
	}
	if id != asked {
		return tunnel.Grant{}, nonsense("it is about another tunnel")
	}
	grant := tunnel.Grant{Tunnel: id, ExpiresAt: end}
	if grant.Slug, err = o.slug("slug"); err != nil {
		return tunnel.Grant{}, err
	}
	if err := status.Err(end, now); err != nil {
		return tunnel.Grant{}, err
	}
	if !valid {
		return tunnel.Grant{}, tunnel.ErrUnauthorized
	}
	if err := o.terms(&grant); err != nil {
		return tunnel.Grant{}, err
	}
	return grant, nil
}

func readResolution(code int, body []byte) (tunnel.Resolution, error) {
	o, err := readAnswer(code, body)
	if err != nil {
		return tunnel.Resolution{}, err
	}
	id, status, end, err := o.tunnel()
	if err != nil {
		return tunnel.Resolution{}, err
	}
	return tunnel.Resolution{Tunnel: id, Status: status, ExpiresAt: end}, nil
}

func readHealth(code int, body []byte) error {
	if code == http.StatusNotFound {
		return nonsense("status 404")
	}
	o, err := readAnswer(code, body)
	if err != nil {
		return err
	}
	status, err := field[string](o, "status")
	if err != nil {
		return err
	}
	if status != "ok" {
		return nonsense(`"status" is not "ok"`)
	}
	return nil
}

// object is a JSON object whose fields are not read yet.
type object map[string]json.RawMessage

func readAnswer(code int, body []byte) (object, error) {
	switch code {
	case http.StatusOK:
		return readObject(body)
	case http.StatusNotFound:
		return nil, tunnel.ErrUnknown
	default: // a redirect too: it might lead anywhere
		return nil, nonsense(fmt.Sprintf("status %d", code))
	}
}

// readObject reads exactly one JSON object. A field that is there twice makes
// it unreadable: which of the two was meant is anybody's guess (RFC 8259,
// section 4). Names are matched exactly, unlike encoding/json does on its own.
func readObject(body []byte) (object, error) {
	if !utf8.Valid(body) {
		return nil, nonsense("it is not UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(body))
	if start, err := d.Token(); err != nil || start != json.Delim('{') {
		return nil, nonsense("it is no JSON object")
	}
	o := make(object)
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return nil, nonsense("it is no JSON")
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return nil, nonsense("it is no JSON")
		}
		key, _ := name.(string) // the decoder takes nothing else for a name
		if _, twice := o[key]; twice {
			return nil, nonsense("it has a field twice")
		}
		o[key] = value
	}
	if _, err := d.Token(); err != nil {
		return nil, nonsense("it is no JSON")
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, nonsense("it goes on after its end")
	}
	return o, nil
}

// field reads a required field. null counts as absent.
func field[T any](o object, name string) (T, error) {
	var v T
	if !o.has(name) {
		return v, nonsense(fmt.Sprintf("%q is missing", name))
	}
	if json.Unmarshal(o[name], &v) != nil {
		return v, nonsense(fmt.Sprintf("%q has the wrong type", name))
	}
	return v, nil
}

func (o object) has(name string) bool {
	value, ok := o[name]
	return ok && string(value) != "null"
}

// tunnel reads what validate and resolve have in common. The end of a tunnel
// that is over anyway need not be readable: a refusal takes less proof than a
// pass, and "revoked" must not turn into "can't tell".
func (o object) tunnel() (id tunnel.ID, status tunnel.Status, end time.Time, err error) {
	text, err := field[string](o, "tunnel_id")
	if err != nil {
		return "", "", time.Time{}, err
	}
	if id, err = tunnel.ParseID(text); err != nil {
		return "", "", time.Time{}, nonsense(`"tunnel_id" is none`) // not ErrUnknown: that is the answer 404
	}
	if status, err = field[tunnel.Status](o, "status"); err != nil {
		return "", "", time.Time{}, err
	}
	switch status {
	case tunnel.StatusActive:
	case tunnel.StatusExpired, tunnel.StatusRevoked:
		end, _ = o.end()
		return id, status, end, nil
	default:
		return "", "", time.Time{}, nonsense(`"status" is none we know`)
	}
	if end, err = o.end(); err != nil {
		return "", "", time.Time{}, err
	}
	return id, status, end, nil
}

func (o object) end() (time.Time, error) {
	text, err := field[string](o, "expires_at")
	if err != nil {
		return time.Time{}, err
	}
	end, ok := parseTime(text)
	if !ok {
		return time.Time{}, nonsense(`"expires_at" is no time`)
	}
	return end, nil
}

// slug is optional; empty means the control plane does not say.
func (o object) slug(name string) (tunnel.Slug, error) {
	if !o.has(name) {
		return "", nil
	}
	text, err := field[string](o, name)
	if err != nil || text == "" {
		return "", err
	}
	slug, err := tunnel.ParseSlug(text)
	if err != nil {
		return "", nonsense(fmt.Sprintf("%q is none", name))
	}
	return slug, nil
}

func nonsense(why string) error { return fmt.Errorf("%w: %s", ErrNonsense, why) }
