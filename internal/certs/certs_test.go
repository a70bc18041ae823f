package certs

import (
	"bytes"
	"crypto/x509"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/getbindu/bindu-edge/test/ca"
)

func issue(t testing.TB, serial int64) ca.Pair {
	t.Helper()
	return ca.New(t).Issue(t, x509.Certificate{SerialNumber: big.NewInt(serial)})
}

func serial(f *Files) int64 { return f.Current().Own.Leaf.SerialNumber.Int64() }

// A renewed pair counts after a second; whatever is no pair never does, and is
// spoken of once a minute.
func TestRenewed(t *testing.T) {
	dir := t.TempDir()
	o := Options{Cert: filepath.Join(dir, "tls.crt"), Key: filepath.Join(dir, "tls.key")}
	first, second := issue(t, 1), issue(t, 2)
	var log bytes.Buffer
	o.Logger = slog.New(slog.NewTextHandler(&log, nil))
	first.Write(t, o.Cert, o.Key)
	synctest.Test(t, func(t *testing.T) {
		f, err := Open(o)
		if err != nil {
			t.Fatal(err)
		}
		wait := func(d time.Duration) { <-time.After(d) }
		step := func(when string, want int64, warnings int) {
			t.Helper()
			if got := serial(f); got != want {
				t.Errorf("%s: certificate %d, want %d", when, got, want)
			}
			if got := strings.Count(log.String(), "level=WARN"); got != warnings {
				t.Errorf("%s: %d warnings, want %d: %s", when, got, warnings, log.String())
			}
		}
		step("at first", 1, 0)
		ca.Write(t, o.Cert, second.Cert)
		step("within the second", 1, 0)
		wait(time.Second)
		step("the key is still the old one", 1, 1)
		ca.Write(t, o.Key, second.Key)
		wait(time.Second)
		step("both are renewed", 2, 1)
		ca.Write(t, o.Cert, second.Cert[:len(second.Cert)/2])
		wait(time.Second)
		step("half-written", 2, 1)
		wait(time.Minute)
		step("still half-written a minute later", 2, 2)
		if err := os.Remove(o.Key); err != nil {
			t.Fatal(err)
		}
		wait(time.Minute)
		step("gone", 2, 3)
		first.Write(t, o.Cert, o.Key)
		wait(time.Second)
		step("there again", 1, 3)
		if strings.Contains(log.String(), "PRIVATE") {
			t.Error("the log shows the key")
		}
	})
}

func TestExpect(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	o := Options{Cert: filepath.Join(dir, "tls.crt"), Key: filepath.Join(dir, "tls.key")}
	for _, n := range []int64{1, 2} {
		p := issue(t, n)
		p.Write(t, o.Cert, o.Key)
		f, err := Open(o)
		if err != nil {
			t.Fatal(err)
		}
		next := issue(t, n+10)
		next.Write(t, o.Cert, o.Key)
		f.Expect()
		if got := serial(f); got != n+10 {
			t.Errorf("got certificate %d, want %d", got, n+10)
		}
	}
}

func TestOpen(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := func(name string, text []byte) string {
		p := filepath.Join(dir, name)
		ca.Write(t, p, text)
		return p
	}
	one, two := issue(t, 1), issue(t, 2)
	cert, key := path("cert", one.Cert), path("key", one.Key)
	for _, row := range []struct {
		name string
		o    Options
		want string // part of the error; "" = none
	}{
		{"a pair", Options{Cert: cert, Key: key}, ""},
		{"with an authority", Options{Cert: cert, Key: key, Authority: cert}, ""},
		{"no certificate", Options{Cert: cert + "?", Key: key}, cert + "?"},
		{"no key", Options{Cert: cert, Key: path("empty", nil)}, "empty"},
		{"another's key", Options{Cert: cert, Key: path("other", two.Key)}, "other"},
		{"an authority that is none", Options{Cert: cert, Key: key, Authority: key}, "holds no certificate"},
		{"too large", Options{Cert: path("large", make([]byte, maxFile+1)), Key: key}, "larger than 1 MiB"},
		{"a directory", Options{Cert: dir, Key: key}, dir},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			_, err := Open(row.o)
			if (err == nil) != (row.want == "") || err != nil && !strings.Contains(err.Error(), row.want) {
				t.Errorf("got %v, want %q", err, row.want)
			}
		})
	}
}

func BenchmarkGetCertificate(b *testing.B) {
	dir := b.TempDir()
	o := Options{Cert: filepath.Join(dir, "tls.crt"), Key: filepath.Join(dir, "tls.key")}
	p := issue(b, 1)
	p.Write(b, o.Cert, o.Key)
	f, err := Open(o)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := f.GetCertificate(nil); err != nil {
				b.Fatal(err)
			}
		}
	})
}
