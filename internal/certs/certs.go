// Package certs keeps a certificate and its key as they stand in files that
// somebody else renews: a renewed pair counts within a second, a broken or
// half-written one never replaces one that was good. It decides nothing about
// who is let in. The files come from the operator and are trusted.
package certs

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

const (
	lookEvery = time.Second // at most this often, whoever connects
	warnEvery = time.Minute // about files that can't be used
	maxFile   = 1 << 20     // bytes
)

// Options configure Files.
type Options struct {
	Cert, Key string       // paths, PEM; Cert may hold a chain
	Authority string       // path, PEM: whom to believe; "" = nobody
	Logger    *slog.Logger // nil: broken files are not spoken of
}

// Set is what was read together. It is never changed.
type Set struct {
	Own   tls.Certificate
	Roots *x509.CertPool // nil without Options.Authority
}

// Files reads again when it is asked, not in the background. Safe for concurrent
// use.
type Files struct {
	opts    Options
	current atomic.Pointer[Set]
	due     atomic.Int64 // when to look again, Unix nanoseconds

	reading sync.Mutex // held by the one that looks; the others take what there is
	read    [3][]byte  // what current was made of
	warned  time.Time
}

// Open reads the files for the first time; then an error is an error.
func Open(o Options) (*Files, error) {
	f := &Files{opts: o}
	f.reading.Lock()
	defer f.reading.Unlock()
	if err := f.look(); err != nil {
		return nil, err
	}
	return f, nil
}

// Current is the newest good set. It looks at the files if the last look is a
// second ago, and waits for them; meanwhile others get the last one.
func (f *Files) Current() *Set {
	if time.Now().UnixNano() >= f.due.Load() && f.reading.TryLock() {
		defer f.reading.Unlock()
		if err := f.look(); err != nil {
			f.warn(err)
		}
	}
	return f.current.Load()
}

// GetCertificate is for tls.Config.
func (f *Files) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return &f.Current().Own, nil
}

// Expect makes the next Current look, however short ago the last look was.
func (f *Files) Expect() { f.due.Store(0) }

// look puts what the files hold in force, with f.reading held. Contents are
// compared rather than times, which some file systems keep too coarsely.
func (f *Files) look() error {
	f.due.Store(time.Now().Add(lookEvery).UnixNano())
	var text [3][]byte
	same := f.current.Load() != nil
	for i, path := range []string{f.opts.Cert, f.opts.Key, f.opts.Authority} {
		if path == "" {
			continue
		}
		var err error
		if text[i], err = read(path); err != nil {
			return err
		}
		same = same && bytes.Equal(text[i], f.read[i])
	}
	if same {
		return nil
	}
	set, err := f.parse(text)
	if err != nil {
		return err
	}
	f.read = text
	f.current.Store(set)
	return nil
}

func read(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err // names the file
	}
	defer func() { _ = file.Close() }()
	text, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	if err == nil && len(text) > maxFile {
		err = errors.New("larger than 1 MiB")
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return text, nil
}

func (f *Files) parse(text [3][]byte) (*Set, error) {
	own, err := tls.X509KeyPair(text[0], text[1])
	if err != nil {
		return nil, fmt.Errorf("certificate %s with key %s: %w", f.opts.Cert, f.opts.Key, err)
	}
	set := &Set{Own: own}
	if f.opts.Authority != "" {
		set.Roots = x509.NewCertPool()
		if !set.Roots.AppendCertsFromPEM(text[2]) {
			return nil, fmt.Errorf("authority: %s holds no certificate", f.opts.Authority)
		}
	}
	return set, nil
}

// warn tells of files that can't be used, with f.reading held.
func (f *Files) warn(err error) {
	now := time.Now()
	if f.opts.Logger == nil || !f.warned.IsZero() && now.Sub(f.warned) < warnEvery {
		return
	}
	f.warned = now
	f.opts.Logger.Warn("a certificate can't be read again; the last good one stays in use", "error", err)
}
