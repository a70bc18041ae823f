package route

import (
	"bytes"
	"errors"
	"io"
	"strings"
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

// An attempt that waits for a caller who sends nothing ends when its body is
// closed. Nobody can have the body then.
func TestReplayOfAStuckRead(t *testing.T) {
	t.Parallel()
	source := &stuck{reading: make(chan struct{}), closed: make(chan struct{})}
	b := newReplay(source, -1)
	first := b.lend()
	ended := make(chan error, 1)
	go func() {
		_, err := first.Read(make([]byte, 10))
		ended <- err
	}()
	<-source.reading
	_ = first.Close()
	if err := <-ended; err == nil {
		t.Error("a closed body was read")
	}
	if b.again() {
		t.Error("the body can't be had again")
	}
}

// stuck is a caller who sends nothing.
type stuck struct{ reading, closed chan struct{} }

func (s *stuck) Read([]byte) (int, error) {
	close(s.reading)
	<-s.closed
	return 0, io.ErrClosedPipe
}

func (s *stuck) Close() error { close(s.closed); return nil }

// What a read brings that was under way at the end of an attempt is the next
// one's.
func TestReplayOfALateRead(t *testing.T) {
	t.Parallel()
	for _, size := range []int{5, replayLimit + 1} {
		var first *lent
		b := newReplay(io.NopCloser(readFunc(func(p []byte) (int, error) {
			first.closed.Store(true) // as Close does first of all
			if size == 0 {
				return 0, io.EOF
			}
			n := min(size, len(p))
			size -= n
			return n, nil
		})), -1)
		want := size
		first = b.lend()
		if _, err := first.Read(make([]byte, size)); err == nil {
			t.Error("a closed body was read")
		}
		_ = first.Close()
		if got := b.again(); got != (want <= replayLimit) {
			t.Errorf("%d bytes: again is %v", want, got)
		}
		got, err := io.ReadAll(b.lend())
		if want <= replayLimit && (err != nil || len(got) != want) || want > replayLimit && !errors.Is(err, errNotWhole) {
			t.Errorf("of %d bytes the second attempt read %d, %v", want, len(got), err)
		}
	}
}

type readFunc func([]byte) (int, error)

func (f readFunc) Read(p []byte) (int, error) { return f(p) }

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
