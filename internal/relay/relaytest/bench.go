package relaytest

import (
	"bytes"
	"io"
	"net/http"
	"strconv"
	"testing"
)

// Bench measures GETs through one hop to a link that costs nothing: by
// themselves, and 64 at once.
func Bench(b *testing.B, mesh func(testing.TB) Mesh) {
	for _, size := range []int{1 << 10, 64 << 10} {
		body := noise()[:size]
		link := carry(func(r *http.Request) (*http.Response, error) {
			_ = r.Body.Close()
			return &http.Response{
				StatusCode: http.StatusOK, ContentLength: int64(size), Body: io.NopCloser(bytes.NewReader(body)),
				Header: http.Header{"Content-Length": {strconv.Itoa(size)}, "Content-Type": {"text/plain"}},
			}, nil
		})
		_, _, way := hopTo(b, mesh(b), link)
		get := func(b *testing.B) {
			res, err := way.RoundTrip(request(b, http.MethodGet, "/", nil))
			if err != nil {
				b.Error(err)
				return
			}
			defer func() { _ = res.Body.Close() }()
			if n, err := io.Copy(io.Discard, res.Body); err != nil || n != int64(size) {
				b.Errorf("%d bytes, %v", n, err)
			}
		}
		get(b) // connects
		b.Run(strconv.Itoa(size)+" bytes", func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(size))
			for b.Loop() {
				get(b)
			}
		})
		b.Run(strconv.Itoa(size)+" bytes, 64 at once", func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(size))
			b.SetParallelism(64)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					get(b)
				}
			})
		})
	}
}
