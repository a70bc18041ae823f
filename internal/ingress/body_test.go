package ingress

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/getbindu/bindu-edge/internal/fault"
)

// A refusal comes while the rest of the request is still being sent on, by a
// goroutine that nobody waits for (see http.RoundTripper). The caller of HTTP/2
// gets it, and the two don't read from one body at once, which -race would see.
func TestRefusedUploadIsStillReadElsewhere(t *testing.T) {
	t.Parallel()
	sent := make(chan error, 1)
	h := serving(func(req *http.Request) (*http.Response, error) {
		reading := make(chan struct{})
		go func() {
			buffer := make([]byte, 1)
			_, _ = req.Body.Read(buffer)
			close(reading)
			for {
				if _, err := req.Body.Read(buffer); err != nil {
					sent <- err
					return
				}
			}
		}()
		<-reading
		return nil, fault.New(fault.RequestTooLarge, "")
	}, "")
	url, transport := http2Pair(t, h)
	upload, write := io.Pipe()
	go func() {
		for {
			if _, err := io.WriteString(write, "some more "); err != nil {
				return
			}
		}
	}()
	defer func() { _ = write.CloseWithError(errors.New("over")) }()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url+"/local_tunnel/s/", upload)
	if err != nil {
		t.Fatal(err)
	}
	res, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	_ = write.CloseWithError(errors.New("over"))
	if res.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("got %d", res.StatusCode)
	}
	if err := <-sent; err == nil {
		t.Error("the rest was sent on")
	}
}

// gRPC tells an error by a header that ends the stream ("trailers only"). It must
// end it too when it comes before the end of the upload.
func TestHeaderOnlyAnswerBeforeTheEndOfTheUpload(t *testing.T) {
	t.Parallel()
	url, transport := http2Pair(t, serving(func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: http.StatusOK, Header: http.Header{"Grpc-Status": {"12"}}, Body: http.NoBody}, nil
	}, ""))
	upload, write := io.Pipe()
	defer func() { _ = write.Close() }()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url+"/local_tunnel/s/", upload)
	if err != nil {
		t.Fatal(err)
	}
	res, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	// Of a header that was sent before the end of the stream the server does not
	// know that nothing follows, and so gives no length.
	if res.Header.Get("Grpc-Status") != "12" || res.ContentLength != 0 {
		t.Errorf("header %v, length %d: want one that ends the stream", res.Header, res.ContentLength)
	}
}

// http2Pair serves h, and returns its URL and a caller of HTTP/2.
func http2Pair(t *testing.T, h http.Handler) (url string, caller http.RoundTripper) {
	t.Helper()
	server := httptest.NewUnstartedServer(h)
	server.Config.Protocols = new(http.Protocols)
	server.Config.Protocols.SetUnencryptedHTTP2(true)
	server.Start()
	t.Cleanup(server.Close)
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{Protocols: protocols}
	t.Cleanup(transport.CloseIdleConnections)
	return server.URL, transport
}
