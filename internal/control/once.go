package control

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"
)

// ErrReused is an Idempotency-Key that came with another request before.
var ErrReused = errors.New("this Idempotency-Key was used for another request")

// MaxOnceKey and MaxAnswer bound Once, in bytes.
const (
	MaxOnceKey = 255
	MaxAnswer  = 64 << 10
)

// Once names a request that must be done once however often it comes.
type Once struct {
	Key     string // the Idempotency-Key, 1 to MaxOnceKey printable bytes
	KeyID   string // of the API key: each has Idempotency-Keys of its own
	Secret  string // of the API key: only it can open the answer again
	Request Digest // of method, path and body
}

// DoOnce runs do, whose answer of at most MaxAnswer bytes is kept for
// RecordLife, and gives the same answer, replayed, when the same request comes
// again; ErrReused when another one comes with its key. What do changes by the
// Plane and the context that it is given is in one transaction with the record,
// so a crash leaves both or neither; it must use no others. An error of do is the call's,
// undoes everything and is not remembered. The answer may hold a token: it is
// kept sealed with the API key's secret, which the database does not have.
func (p *Plane) DoOnce(ctx context.Context, o Once, do func(context.Context, *Plane) (answer []byte, err error)) (answer []byte, replayed bool, err error) {
	if o.Key == "" {
		return nil, false, invalid("Idempotency-Key", "must be given")
	}
	if err := checkText("Idempotency-Key", o.Key, MaxOnceKey); err != nil {
		return nil, false, err
	}
	id := DigestOf("idempotency\x00" + o.KeyID + "\x00" + o.Key)
	seal, err := o.seal()
	if err != nil {
		return nil, false, fmt.Errorf("once: %w", err)
	}
	err = p.update(ctx, func(ctx context.Context, tx Tx) error {
		now := precise(time.Now())
		had, err := tx.Record(ctx, id)
		switch {
		case err == nil && now.Before(had.At.Add(RecordLife)):
			replayed = true
			answer, err = o.open(seal, had)
			return err
		case err != nil && !errors.Is(err, ErrMissing):
			return err
		}
		inside := *p
		inside.tx = tx
		if answer, err = do(ctx, &inside); err != nil {
			return err
		}
		if len(answer) > MaxAnswer {
			return fmt.Errorf("answer of %d bytes is too long to keep", len(answer))
		}
		sealed := seal.Seal(nil, nil, answer, o.bound(id))
		return tx.PutRecord(ctx, Record{ID: id, Request: o.Request, Sealed: sealed, At: now})
	})
	if err != nil {
		return nil, false, fmt.Errorf("once: %w", err)
	}
	if !replayed && p.tx == nil {
		p.bell.ring()
	}
	return answer, replayed, nil
}

// seal is AES-256-GCM under a key that only this API key and Idempotency-Key
// together give (HKDF, RFC 5869).
func (o Once) seal() (cipher.AEAD, error) {
	key, err := hkdf.Key(sha256.New, []byte(o.Secret), nil, "bindu-edge idempotency\x00"+o.Key, 32)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

// bound ties the sealed answer to its row: none can be moved to another.
func (o Once) bound(id Digest) []byte {
	return append(id[:], o.Request[:]...)
}

func (o Once) open(seal cipher.AEAD, r Record) ([]byte, error) {
	if r.Request != o.Request {
		return nil, ErrReused
	}
	answer, err := seal.Open(nil, nil, r.Sealed, o.bound(r.ID))
	if err != nil {
		return nil, fmt.Errorf("open a kept answer: %w", err)
	}
	return answer, nil
}
