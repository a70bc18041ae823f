package agent_test

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"testing"

	"github.com/coder/websocket"
	"go.uber.org/goleak"

	"github.com/getbindu/bindu-edge/internal/link"
	"github.com/getbindu/bindu-edge/internal/wire"
	"github.com/getbindu/bindu-edge/internal/wsconn"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// testEdge is the smallest edge: it takes any agent, and sends every other
// request to the last that came.
type testEdge struct {
	*httptest.Server
	link    chan *link.H2 // holds the last one
	patient bool          // waits for the end of a link that an agent leaves; set it before one comes
}

// startEdge is what an example needs in place of https://edge.example.com.
func startEdge() *testEdge {
	e := &testEdge{link: make(chan *link.H2, 1)}
	opener := link.NewOpener(link.Options{})
	e.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/ws" {
			e.forward(w, r)
			return
		}
		w.Header().Set(wire.HeaderPublicURL, e.URL+"/")
		small := wsconn.SmallBuffers(w)
		ws, err := websocket.Accept(small, r, &websocket.AcceptOptions{Subprotocols: []string{wire.ProtocolH2}})
		if err != nil {
			return
		}
		l, err := opener.Open(r.Context(), small.Conn(ws, nil))
		if err != nil {
			return
		}
		e.link <- l
		if e.patient {
			<-l.Done()
		}
		<-l.Leaving()
		l.Close(link.ReasonLeft)
		<-l.Done()
	}))
	return e
}

func (e *testEdge) forward(w http.ResponseWriter, r *http.Request) {
	l := <-e.link
	e.link <- l
	r.Header.Del("Accept-Encoding")
	proxy := httputil.ReverseProxy{
		Rewrite: func(pr *httputil.ProxyRequest) {
			pr.Out.URL.Scheme, pr.Out.URL.Host = "http", pr.In.Host
			pr.SetXForwarded()
		},
		Transport: l,
	}
	proxy.ServeHTTP(w, r)
}
