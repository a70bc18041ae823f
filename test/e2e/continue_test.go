package e2e

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestExpectContinue(t *testing.T) {
	t.Parallel()
	w := startWorld(t, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("X-Expect", r.Header.Get("Expect"))
		switch r.URL.Path {
		case "/refuse":
			rw.WriteHeader(http.StatusUnauthorized)
			_, _ = io.WriteString(rw, "no")
			return
		case "/hint":
			rw.Header().Set("Link", "</style.css>; rel=preload")
			rw.WriteHeader(http.StatusEarlyHints)
		}
		body, _ := io.ReadAll(r.Body)
		_, _ = rw.Write(body)
	}))
	t.Run("a refusal costs no upload", func(t *testing.T) {
		c := dialRaw(t, w.edge)
		c.send(w.on("POST", "/refuse", "Content-Length: 1000000", "Expect: 100-continue"))
		a := c.answer("POST")
		if a.StatusCode != 401 || a.body != "no" || a.Header.Get("X-Expect") != "100-continue" {
			t.Errorf("got %d %q, origin saw Expect %q", a.StatusCode, a.body, a.Header.Get("X-Expect"))
		}
		if !a.Close {
			t.Error("the connection is kept although nobody knows whether the body comes")
		}
		c.wantEnded()
	})
	t.Run("nor does one by the edge", func(t *testing.T) {
		c := dialRaw(t, w.edge)
		c.send("POST /local_tunnel/unknown/ HTTP/1.1\r\nHost: " + w.edge.addr + "\r\nContent-Length: 1000000\r\nExpect: 100-continue\r\n\r\n")
		if a := c.answer("POST"); a.StatusCode != 404 {
			t.Errorf("got %d", a.StatusCode)
		}
	})
	for _, path := range []string{"/take", "/hint"} {
		t.Run("an acceptance gives exactly one 100 on "+path, func(t *testing.T) {
			c := dialRaw(t, w.edge)
			c.send(w.on("POST", path, "Content-Length: 5", "Expect: 100-continue", "X-Request-Id: mine"))
			var interim []int
			for {
				res := c.head("POST")
				if res.StatusCode >= 200 {
					t.Fatalf("%d before the body was sent", res.StatusCode)
				}
				if interim = append(interim, res.StatusCode); res.StatusCode == 100 {
					break
				}
			}
			c.send("hello")
			a := c.answer("POST")
			if a.StatusCode != 200 || a.body != "hello" {
				t.Errorf("got %d %q after %v", a.StatusCode, a.body, interim)
			}
			if a.Header.Get("X-Request-Id") != "mine" {
				t.Error("the answer lost its request id")
			}
			c.send(w.on("GET", "/take"))
			if again := c.answer("GET"); again.StatusCode != 200 {
				t.Errorf("the connection's next answer is %d", again.StatusCode)
			}
		})
	}
	t.Run("a caller that does not wait", func(t *testing.T) {
		c := dialRaw(t, w.edge)
		c.send(w.on("POST", "/take", "Content-Length: 5", "Expect: 100-continue") + "hello")
		res := c.head("POST")
		if res.StatusCode == 100 {
			res = c.head("POST")
		}
		if body, _ := io.ReadAll(res.Body); res.StatusCode != 200 || string(body) != "hello" {
			t.Errorf("got %d %q", res.StatusCode, body)
		}
	})
	t.Run("HTTP/1.0 gets no interim answer", func(t *testing.T) {
		c := dialRaw(t, w.edge)
		c.send(strings.Replace(w.on("POST", "/hint", "Content-Length: 5"), "HTTP/1.1", "HTTP/1.0", 1) + "hello")
		if res := c.head("POST"); res.StatusCode != 200 {
			t.Errorf("got %d", res.StatusCode)
		}
	})
}

func TestEarlyHints(t *testing.T) {
	t.Parallel()
	let := make(chan struct{})
	w := startWorld(t, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		rw.Header().Set("Link", "</style.css>; rel=preload")
		rw.Header().Set("Bindu-Edge-Error", "forged")
		rw.Header().Set("Keep-Alive", "timeout=5")
		rw.WriteHeader(http.StatusEarlyHints)
		<-let
		rw.Header().Del("Link")
		_, _ = io.WriteString(rw, "page")
	}))
	c := dialRaw(t, w.edge)
	c.send(w.on("POST", "/", "Transfer-Encoding: chunked", "X-Request-Id: mine") + "1\r\nx\r\n0\r\n\r\n")
	res := c.head("POST") // before the answer exists
	if res.StatusCode != 103 || res.Header.Get("Link") == "" {
		t.Errorf("got %d %v", res.StatusCode, res.Header)
	}
	if res.Header.Get("Bindu-Edge-Error") != "" || res.Header.Get("Keep-Alive") != "" {
		t.Errorf("the hint carries too much: %v", res.Header)
	}
	close(let)
	a := c.answer("POST")
	if a.StatusCode != 200 || a.body != "page" || a.Header.Get("Link") != "" {
		t.Errorf("got %d %q %v", a.StatusCode, a.body, a.Header)
	}
	if a.Header.Get("X-Request-Id") != "mine" || !a.Close {
		t.Errorf("the hint took from the answer: X-Request-Id %q, Connection: close %v", a.Header.Get("X-Request-Id"), a.Close)
	}
}

// An answer that comes before the upload has ended must not wait for it.
func TestEarlyAnswer(t *testing.T) {
	t.Parallel()
	w := startWorld(t, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(rw).EnableFullDuplex() // else this server waits for the upload itself
		switch r.URL.Path {
		case "/ok":
			_, _ = io.WriteString(rw, "early")
		case "/large":
			rw.WriteHeader(http.StatusForbidden)
			_, _ = rw.Write(noise(300_000))
		}
	}))
	tests := []struct {
		name, path, framing, part string
		status, size              int
	}{
		{"length, 200", "/ok", "Content-Length: 1000", "0123456789", 200, 5},
		{"length, 200, nothing sent", "/ok", "Content-Length: 1000", "", 200, 5},
		{"chunked, 200", "/ok", "Transfer-Encoding: chunked", "5\r\nhello\r\n", 200, 5},
		{"length, 403 with a large page", "/large", "Content-Length: 1000", "0123456789", 403, 300_000},
		{"chunked, 403 with a large page", "/large", "Transfer-Encoding: chunked", "5\r\nhel", 403, 300_000},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := dialRaw(t, w.edge)
			began := time.Now()
			c.send(w.on("POST", test.path, test.framing) + test.part)
			a := c.answer("POST")
			if a.StatusCode != test.status || len(a.body) != test.size {
				t.Errorf("got %d with %d bytes", a.StatusCode, len(a.body))
			}
			c.wantEnded() // or the rest of the body would be taken for a request
			wantWithin(t, "answer and end", began, 2*time.Second)
		})
	}
	t.Run("a caller that sends on sees the answer", func(t *testing.T) {
		body := io.MultiReader(strings.NewReader(strings.Repeat("x", 8<<20)))
		res, err := client.Do(request(t.Context(), t, http.MethodPost, w.url("/large"), body))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = res.Body.Close() }()
		if text, err := io.ReadAll(res.Body); err != nil || len(text) != 300_000 || res.StatusCode != 403 {
			t.Errorf("got %d with %d bytes, %v", res.StatusCode, len(text), err)
		}
	})
}
