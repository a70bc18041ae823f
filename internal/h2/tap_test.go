package h2

import (
	"bytes"
	"testing"

	"golang.org/x/net/http2"
)

// A GOAWAY is seen wherever the reads cut the frames, and nothing else is taken
// for one, also not bytes inside a body that look like it.
func TestTapSeesGoaway(t *testing.T) {
	t.Parallel()
	var before, goaway bytes.Buffer
	f := http2.NewFramer(&before, nil)
	_ = f.WriteSettings(http2.Setting{ID: http2.SettingMaxFrameSize, Val: 1 << 16})
	_ = f.WriteData(1, false, []byte{0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})
	_ = f.WriteData(1, true, nil)
	_ = http2.NewFramer(&goaway, nil).WriteGoAway(3, http2.ErrCodeNo, []byte("bye"))
	for size := 1; size < 40; size++ {
		tap := newFrameTap(nil)
		feed := func(p []byte) {
			for len(p) > 0 {
				n := min(size, len(p))
				if err := tap.scan(p[:n]); err != nil {
					t.Fatal(err)
				}
				p = p[n:]
			}
		}
		feed(before.Bytes())
		if tap.sawGoaway() {
			t.Fatalf("reads of %d bytes: a GOAWAY where there was none", size)
		}
		feed(goaway.Bytes())
		if !tap.sawGoaway() {
			t.Fatalf("reads of %d bytes: the GOAWAY was missed", size)
		}
	}
}
