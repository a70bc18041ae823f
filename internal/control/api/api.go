// Package api is the control plane's HTTP API for people and edges: tunnels,
// API keys and the audit log under /api/v1, the event stream and the reports of
// edges, and in front of package control's three calls the key that they may
// need. It decides who may ask, how a request must look and how an error is
// told; what may be done with a tunnel is package control's to decide. Requests
// are not trusted. A secret is in an answer only where it is made, and never in
// a log.
package api

//go:generate go test -run TestDocument -update .

import (
	"crypto/rand"
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/getbindu/bindu-edge/internal/control"
	"github.com/getbindu/bindu-edge/internal/control/guesses"
	"github.com/getbindu/bindu-edge/internal/fault"
)

// Bounds of the API, in bytes and streams.
const (
	MaxBodyBytes   = control.MaxBodyBytes // of a request
	MaxReportBytes = 1 << 20              // of a report
	MaxStreams     = 1024                 // of events, at a time
)

// Options configure New.
type Options struct {
	Plane          *control.Plane   // required; its Run makes events of other processes heard
	TrustedProxies []netip.Prefix   // whose X-Forwarded-For is believed
	RequireEdgeKey bool             // the three calls need a key with the role edge, too
	MaxStreams     int              // of events; 0 = MaxStreams
	Guesses        *guesses.Guesses // counts wrong keys; nil = only the API's
	Logger         *slog.Logger     // nil = none
}

// API answers HTTP. Safe for concurrent use.
type API struct {
	plane    *control.Plane
	trusted  []netip.Prefix
	needKey  bool
	logger   *slog.Logger
	guesses  *guesses.Guesses
	streams  chan struct{} // one place for each stream
	draining chan struct{}
	drain    sync.Once
	mux      *http.ServeMux
	huma     huma.API
}

// New makes the API. It starts nothing.
func New(o Options) (*API, error) {
	if o.Plane == nil {
		return nil, errors.New("the API needs a control plane")
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Guesses == nil {
		o.Guesses = guesses.New()
	}
	if o.MaxStreams <= 0 {
		o.MaxStreams = MaxStreams
	}
	a := &API{
		plane: o.Plane, trusted: o.TrustedProxies, needKey: o.RequireEdgeKey, logger: o.Logger,
		guesses: o.Guesses, streams: make(chan struct{}, o.MaxStreams), draining: make(chan struct{}),
		mux: http.NewServeMux(),
	}
	a.huma = humago.New(a.mux, a.document())
	a.tunnelCalls()
	a.tokenCalls()
	a.pastCalls()
	a.keyCalls()
	a.journalCalls()
	a.reportCalls()
	a.eventCalls()
	a.edgeCalls()
	a.edgesDocument()
	a.serveDocument()
	a.otherMethods()
	return a, nil
}

// Drain ends all event streams, and refuses new ones. Their readers go on at
// another control plane, or here after a restart.
func (a *API) Drain() { a.drain.Do(func() { close(a.draining) }) }

// ServeHTTP answers one request.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Request-Id", rand.Text())
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	a.mux.ServeHTTP(w, r)
}

// edgeCalls mounts the calls of package control: the three that every edge
// makes, and the 404 for what is nowhere.
func (a *API) edgeCalls() {
	calls := a.plane.Handler()
	a.mux.Handle("/", calls)
	if !a.needKey {
		return
	}
	guarded := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := a.authorize(r, control.MayServe); err != nil {
			// Not 401: an edge reads that as its agent's wrong token, and would end
			// every link because of a wrong key of its own.
			if e := fault.From(err); e.Code == fault.Unauthorized {
				err = fault.New(fault.Forbidden, "This control plane answers edges that have an API key with the role edge.")
			}
			a.fail(w, r, err)
			return
		}
		calls.ServeHTTP(w, r)
	})
	a.mux.Handle("/api/tunnels/", guarded)
}

// otherMethods answers 405 where a path has other methods only: the mux alone
// would go on to the 404 for every path.
func (a *API) otherMethods() {
	for path, item := range a.huma.OpenAPI().Paths {
		if !strings.HasPrefix(path, "/api/v1/") && path != eventsPath && path != reportsPath {
			continue
		}
		var allowed []string
		for method, op := range map[string]*huma.Operation{
			http.MethodGet: item.Get, http.MethodPost: item.Post, http.MethodPatch: item.Patch, http.MethodDelete: item.Delete,
		} {
			if op != nil {
				allowed = append(allowed, method)
			}
		}
		if item.Get != nil {
			allowed = append(allowed, http.MethodHead)
		}
		slices.Sort(allowed)
		allow := strings.Join(allowed, ", ")
		a.mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			e := fault.New(fault.MethodNotAllowed, "This path answers "+allow+" only.")
			e.Header = http.Header{"Allow": {allow}}
			a.fail(w, r, e)
		})
	}
}
