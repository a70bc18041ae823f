package main

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/getbindu/bindu-edge/internal/control"
	"github.com/getbindu/bindu-edge/internal/control/api"
	"github.com/getbindu/bindu-edge/internal/control/store/sqlite"
)

// withPlane gives a script a control plane of its own: `plane` alone one that
// works, `plane STATUS [CONTENT-TYPE BODY]` something that answers everything
// alike, `plane lost` one whose answers never come.
func withPlane(ts *testscript.TestScript, neg bool, args []string) {
	if neg {
		ts.Fatalf("usage: plane [STATUS [CONTENT-TYPE BODY]]")
	}
	if len(args) > 0 {
		startFake(ts, args)
		return
	}
	made, server, stop, err := startTestPlane(context.Background())
	ts.Check(err)
	ts.Defer(stop)
	secret, _, err := made.FirstAdmin(context.Background(), "")
	ts.Check(err)
	_, viewer, err := made.CreateKey(context.Background(), "viewer", control.RoleViewer)
	ts.Check(err)
	ts.Setenv("BINDU_CONTROL_PLANE_URL", server.URL)
	ts.Setenv("BINDU_API_KEY", secret)
	ts.Setenv("VIEWER_KEY", viewer)
}

// startTestPlane runs a control plane in this process.
func startTestPlane(ctx context.Context) (made *control.Plane, server *httptest.Server, stop func(), err error) {
	kept, err := sqlite.Open(ctx, sqlite.Options{}) // in memory
	if err != nil {
		return nil, nil, nil, err
	}
	made, err = control.New(control.Options{Store: kept})
	if err != nil {
		return nil, nil, nil, err
	}
	calls, err := api.New(api.Options{Plane: made, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, nil, nil, err
	}
	server = httptest.NewServer(calls)
	return made, server, func() {
		server.Close()
		_ = kept.Close() // in memory: nothing is lost
	}, nil
}

func startFake(ts *testscript.TestScript, args []string) {
	status := map[string]int{"200": 200, "403": 403, "404": 404, "429": 429, "500": 500, "503": 503}[args[0]]
	lost := args[0] == "lost"
	if status == 0 && !lost {
		ts.Fatalf("plane: no status %s here", args[0])
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if lost {
			panic(http.ErrAbortHandler)
		}
		if len(args) > 1 {
			w.Header().Set("Content-Type", args[1])
		}
		w.Header().Set("Retry-After", "30")
		w.WriteHeader(status)
		if len(args) > 2 {
			_, _ = w.Write([]byte(args[2]))
		}
	}))
	ts.Defer(server.Close)
	ts.Setenv("BINDU_CONTROL_PLANE_URL", server.URL)
	ts.Setenv("BINDU_API_KEY", "bek_any")
}
