package gather_test

import (
	"errors"
	"io"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/getbindu/bindu-edge/internal/gather"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// piece is what one Read gives, after a while.
type piece struct {
	after time.Duration
	text  string
}

// slowBody gives its pieces, then io.EOF after last.
type slowBody struct {
	pieces []piece
	last   time.Duration
}

func (b *slowBody) Read(p []byte) (int, error) {
	if len(b.pieces) == 0 {
		<-time.After(b.last)
		return 0, io.EOF
	}
	next := b.pieces[0]
	b.pieces = b.pieces[1:]
	<-time.After(next.after)
	return copy(p, next.text), nil
}

func (b *slowBody) Close() error { return nil }

// What was written leaves by itself only when what comes next is late.
func TestFlushes(t *testing.T) {
	const late = 100 * time.Millisecond
	for _, row := range []struct {
		name   string
		length int64
		input  slowBody
		want   []time.Duration // when it was flushed
	}{
		{"all at once", 6, slowBody{[]piece{{0, "abc"}, {0, "def"}}, 0}, nil},
		{"the body is late", 3, slowBody{[]piece{{late, "abc"}}, 0}, []time.Duration{gather.Delay}},
		{"the rest is late", 6, slowBody{[]piece{{0, "abc"}, {late, "def"}}, 0}, []time.Duration{gather.Delay}},
		{"the end is late", 3, slowBody{[]piece{{0, "abc"}}, late}, []time.Duration{gather.Delay}},
		{"each piece is late", 6, slowBody{[]piece{{late, "abc"}, {late, "def"}}, late}, []time.Duration{gather.Delay, late + gather.Delay, 2*late + gather.Delay}},
		{"without a length the writer flushes, but for the header", -1, slowBody{[]piece{{late, "abc"}, {late, "def"}}, late}, []time.Duration{gather.Delay}},
		{"without a length, all at once", -1, slowBody{[]piece{{0, "abc"}}, 0}, nil},
		{"no body at all, late", 3, slowBody{nil, late}, []time.Duration{gather.Delay}},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				var got []time.Duration
				reading := false
				b := gather.New(&row.input, row.length, func() {
					if !reading {
						t.Error("flushed while nobody reads: a write may be under way")
					}
					got = append(got, time.Since(began))
				})
				if b.Prompt() != (row.length < 0) {
					t.Errorf("prompt: %v", b.Prompt())
				}
				for err := error(nil); err == nil; {
					reading = true
					_, err = b.Read(make([]byte, 10))
					reading = false
				}
				if diff := cmp.Diff(row.want, got); diff != "" {
					t.Errorf("flushed (-want +got):\n%s", diff)
				}
			})
		})
	}
}

// A Read returns only when a flush that began during it has ended: what follows
// is a write.
func TestReadWaitsForAFlush(t *testing.T) {
	t.Parallel()
	begun, release := make(chan struct{}), make(chan struct{})
	flushed := false // a race, if Read does not wait
	b := gather.New(&waitingBody{begun, release}, 3, func() {
		close(begun)
		<-release
		for range 100 {
			runtime.Gosched() // a caller that takes its time
		}
		flushed = true
	})
	if _, err := b.Read(make([]byte, 10)); err != nil || !flushed {
		t.Errorf("read, flushed: %v, %v", flushed, err)
	}
}

// waitingBody has something as soon as a flush has begun.
type waitingBody struct{ begun, release chan struct{} }

func (b *waitingBody) Read(p []byte) (int, error) {
	<-b.begun
	close(b.release)
	return copy(p, "abc"), nil
}

func (b *waitingBody) Close() error { return nil }

// What came before a break is flushed before the break is told, whether the two
// came together or not.
func TestABreakSwallowsNothing(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	for name, body := range map[string]io.Reader{
		"apart":    io.MultiReader(strings.NewReader("abc"), failing{broken}),
		"together": iotest.DataErrReader(io.MultiReader(strings.NewReader("abc"), failing{broken})),
		"at once":  failing{broken},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var flushes int
			b := gather.New(io.NopCloser(body), 6, func() { flushes++ })
			got, err := io.ReadAll(b)
			if want := map[string]string{"at once": ""}; !errors.Is(err, broken) || flushes != 1 || string(got) != "abc" && want[name] != string(got) {
				t.Errorf("read %q, %v, flushed %d times", got, err, flushes)
			}
		})
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func BenchmarkBody(b *testing.B) {
	b.ReportAllocs()
	buffer := make([]byte, 4096)
	for b.Loop() {
		body := gather.New(io.NopCloser(strings.NewReader("a short body")), 12, func() {})
		for err := error(nil); err == nil; {
			_, err = body.Read(buffer)
		}
	}
}
