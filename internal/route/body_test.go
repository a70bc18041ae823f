package route

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
)

func TestReplay(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		size  int
		known bool // the length
		first int  // bytes that the first attempt reads
		again bool
	}{
		{"nothing read", 10, true, 0, true},
		{"some read", 10, true, 4, true},
		{"all read", 10, true, 10, true},
		{"as much as is kept", replayLimit, true, replayLimit, true},
		{"too large, and nothing read", replayLimit + 1, true, 0, true},
		{"too large", replayLimit + 1, true, 1, false},
		{"of unknown length, and little read", replayLimit + 1, false, 1000, true},
		{"of unknown length", replayLimit + 1, false, replayLimit + 1, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			want := bytes.Repeat([]byte("abcdefg"), tt.size/7+1)[:tt.size]
			length := int64(-1)
			if tt.known {
				length = int64(tt.size)
			}
			b := newReplay(io.NopCloser(bytes.NewReader(want)), length)
			first := b.lend()
			if _, err := io.ReadFull(first, make([]byte, tt.first)); err != nil {
				t.Fatal(err)
			}
			_ = first.Close()
			if b.again() != tt.again {
				t.Fatalf("again is %v", !tt.again)
			}
			got, err := io.ReadAll(b.lend())
			if tt.again != (err == nil && bytes.Equal(got, want)) {
				t.Errorf("the second attempt read %d of %d bytes, %v", len(got), len(want), err)
			}
		})
	}
}

// An attempt that has failed is still waiting for the caller: what comes is for
// the next one.
func TestReplayOfALateRead(t *testing.T) {
	t.Parallel()
	for _, size := range []int{5, replayLimit + 1} {
		source := &slow{reading: make(chan struct{}), come: make(chan struct{}), size: size}
		b := newReplay(source, -1)
		first := b.lend()
		late := make(chan error, 1)
		go func() {
			_, err := first.Read(make([]byte, size))
			late <- err
		}()
		<-source.reading
		_ = first.Close()
		if !b.again() {
			t.Error("given up while nothing has come")
		}
		second := b.lend()
		close(source.come)
		if err := <-late; err == nil {
			t.Error("a closed body was read")
		}
		switch got, err := io.ReadAll(second); {
		case size <= replayLimit && (err != nil || len(got) != size):
			t.Errorf("of %d bytes the second attempt read %d, %v", size, len(got), err)
		case size > replayLimit && !errors.Is(err, errNotWhole):
			t.Errorf("of %d bytes the second attempt read %d, %v; want %v", size, len(got), err, errNotWhole)
		}
	}
}

// slow is a caller whose bytes come late, all at once.
type slow struct {
	reading, come chan struct{}
	size          int
	once          sync.Once
}

func (s *slow) Read(p []byte) (int, error) {
	s.once.Do(func() { close(s.reading) })
	<-s.come
	n := min(s.size, len(p))
	if s.size -= n; n == 0 {
		return 0, io.EOF
	}
	return n, nil
}

func (s *slow) Close() error { return nil }

// Once no attempt will follow nothing is kept, and what was lent is closed with
// its last borrower.
func TestReplayEnds(t *testing.T) {
	t.Parallel()
	source := &closing{Reader: strings.NewReader("abc")}
	b := newReplay(source, 3)
	last := b.lend()
	b.settle()
	if source.closed != 0 {
		t.Error("closed while it is being read")
	}
	if got, err := io.ReadAll(last); string(got) != "abc" || err != nil || b.kept != nil {
		t.Errorf("read %q, %v, and kept %q", got, err, b.kept)
	}
	_, _ = last.Close(), last.Close()
	if source.closed != 1 {
		t.Errorf("closed %d times", source.closed)
	}
}

type closing struct {
	io.Reader
	closed int
}

func (c *closing) Close() error { c.closed++; return nil }
