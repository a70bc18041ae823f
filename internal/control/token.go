package control

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"hash/crc32"
	"math/big"
	"strings"
)

// A token is "bet_", 256 random bits as 43 letters and digits, and a CRC-32 of
// all before it as 6 more; an API key is the same with "bek_". The prefix lets
// secret scanners find it, the checksum lets a mistyped one be told from a wrong
// one without a question.
const (
	tokenPrefix   = "bet_"
	keyPrefix     = "bek_"
	tokenRandom   = 43 // 62^43 > 2^256
	tokenChecksum = 6  // 62^6 > 2^32
)

const base62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// ErrMalformedToken is said of a text that no NewToken, or NewKey, can have made.
var ErrMalformedToken = errors.New("no token of this control plane: mistyped or cut off")

// Digest is the SHA-256 of a token or API key. A token has 256 random bits, so a plain
// hash is enough: there is nothing to guess that salt or slowness would help.
type Digest [sha256.Size]byte

// NewToken makes a tunnel's token, which nobody can guess.
func NewToken() string { return newSecret(tokenPrefix) }

// NewKey makes the secret of an API key, which nobody can guess.
func NewKey() string { return newSecret(keyPrefix) }

func newSecret(prefix string) string {
	var raw [32]byte
	_, _ = rand.Read(raw[:]) // never fails, see crypto/rand
	body := prefix + inBase62(new(big.Int).SetBytes(raw[:]), tokenRandom)
	return body + checksum(body)
}

// CheckToken reports ErrMalformedToken for a text that is no token of ours. It
// says nothing of whether a well-formed one opens anything.
func CheckToken(token string) error { return checkSecret(tokenPrefix, token) }

// CheckKey is CheckToken for the secret of an API key.
func CheckKey(secret string) error { return checkSecret(keyPrefix, secret) }

func checkSecret(prefix, secret string) error {
	if len(secret) != len(prefix)+tokenRandom+tokenChecksum || !strings.HasPrefix(secret, prefix) {
		return ErrMalformedToken
	}
	body, sum := secret[:len(secret)-tokenChecksum], secret[len(secret)-tokenChecksum:]
	if strings.Trim(body[len(prefix):], base62) != "" || checksum(body) != sum {
		return ErrMalformedToken
	}
	return nil
}

// DigestOf is what is kept of a token.
func DigestOf(token string) Digest { return sha256.Sum256([]byte(token)) }

// Opens reports in constant time whether token is the one d was made of. The
// zero Digest is opened by nothing.
func (d Digest) Opens(token string) bool {
	got := DigestOf(token)
	return subtle.ConstantTimeCompare(d[:], got[:]) == 1
}

func checksum(body string) string {
	sum := crc32.ChecksumIEEE([]byte(body))
	return inBase62(new(big.Int).SetUint64(uint64(sum)), tokenChecksum)
}

// inBase62 writes n with leading zeros to width, so that every token has one length.
func inBase62(n *big.Int, width int) string {
	text := make([]byte, width)
	base, digit := big.NewInt(int64(len(base62))), new(big.Int)
	for i := width - 1; i >= 0; i-- {
		n.DivMod(n, base, digit)
		text[i] = base62[digit.Int64()]
	}
	return string(text)
}
