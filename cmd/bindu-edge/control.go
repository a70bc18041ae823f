package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/getbindu/bindu-edge/internal/config"
	"github.com/getbindu/bindu-edge/internal/control"
	"github.com/getbindu/bindu-edge/internal/control/api"
	"github.com/getbindu/bindu-edge/internal/control/guesses"
	"github.com/getbindu/bindu-edge/internal/control/store"
	"github.com/getbindu/bindu-edge/internal/control/store/postgres"
	"github.com/getbindu/bindu-edge/internal/control/store/sqlite"
	"github.com/getbindu/bindu-edge/internal/control/web"
	"github.com/getbindu/bindu-edge/internal/telemetry"
)

// controlCmd is `bindu-edge control`: the control plane until it is told to stop.
type controlCmd struct {
	config.Control
}

// Help is what `control --help` says beyond the list of settings.
func (controlCmd) Help() string {
	return `Keeps tunnels, their tokens and limits, and API keys, for all pods of an edge: in one SQLite file, or in PostgreSQL, which several control planes may share. The first start makes an admin's API key and prints it on standard output, once.

Every setting is a flag and an environment variable (named in brackets); a flag wins.

Examples:

    bindu-edge control
    DATA_DIR=/var/lib/bindu-edge bindu-edge control --host 127.0.0.1
    DATABASE_URL=postgres://edge:secret@db:5432/edge bindu-edge control
    bindu-edge key generate > admin.key
    ADMIN_API_KEY_FILE=admin.key bindu-edge control`
}

const (
	databaseName = "bindu-edge.db"

	// storeTimeout bounds each question to the database: an edge waits 10 s for
	// an answer, and should hear that the database is away before.
	storeTimeout = 3 * time.Second

	// shutdownTimeout is for requests under way; event streams end at once.
	shutdownTimeout = 10 * time.Second
)

// Run serves until ctx ends, and says goodbye.
func (c *controlCmd) Run(ctx context.Context, p *process) (err error) {
	if err := c.Finish(p.settings); err != nil {
		return err
	}
	logger := telemetry.NewLogger(p.stderr, c.LogLevel, c.LogFormat)
	catchLog(logger)
	limitMemory(logger)
	listener, err := listen(c.Host, c.Port)
	if errors.Is(err, syscall.EADDRINUSE) {
		return &config.SettingError{Name: p.settings.Name("PORT"), Msg: fmt.Sprintf("%d is in use: use another", c.Port)}
	}
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	defer func() { _ = listener.Close() }() // the server has closed it already, unless it never began
	kept, where, err := c.open(ctx, p)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, kept.Close()) }()
	plane, err := control.New(control.Options{Store: kept, Logger: logger})
	if err != nil {
		return err
	}
	doors, err := newDoors(plane, api.Options{TrustedProxies: c.TrustedProxies, RequireEdgeKey: c.RequireEdgeKey, Logger: logger}, c.EdgeURL)
	if err != nil {
		return err
	}
	if err := c.firstAdmin(ctx, p, plane); err != nil {
		return err
	}
	logger.LogAttrs(ctx, slog.LevelInfo, "control plane is up", slog.String("addr", listener.Addr().String()),
		slog.String("database", where), slog.String("version", readVersion().Version),
		slog.String("page", localURL(listener.Addr(), c.Host).String()))
	return serveControl(ctx, listener, plane, doors, shutdownTimeout, logger)
}

// doors are the two ways to a control plane: the API and the page.
type doors struct {
	calls *api.API
	page  *web.Site
	mux   *http.ServeMux
}

func newDoors(plane *control.Plane, o api.Options, edge *url.URL) (*doors, error) {
	o.Plane, o.Guesses = plane, guesses.New() // nobody goes on guessing at the other door
	calls, err := api.New(o)
	if err != nil {
		return nil, err
	}
	page, err := web.New(web.Options{Plane: plane, Guesses: o.Guesses, Address: calls.ClientAddr, Edge: edge, Logger: o.Logger})
	if err != nil {
		return nil, err
	}
	d := &doors{calls, page, http.NewServeMux()}
	for _, path := range []string{"/api/", "/health", "/openapi.json", "/openapi.yaml"} {
		d.mux.Handle(path, calls)
	}
	d.mux.Handle("/", page)
	return d, nil
}

// serveControl ends in the order in which nothing is lost: event streams first,
// whose readers go elsewhere, then requests under way, then the housekeeping.
func serveControl(ctx context.Context, listener net.Listener, plane *control.Plane, doors *doors, patience time.Duration, logger *slog.Logger) error {
	server := &http.Server{
		Handler:           doors.mux,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      time.Minute, // an event stream sets its own
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(logger.Handler(), slog.LevelDebug),
	}
	keeping, stop := context.WithCancel(context.WithoutCancel(ctx))
	kept := make(chan error, 1)
	var running sync.WaitGroup
	running.Go(func() { kept <- plane.Run(keeping) })
	served := make(chan error, 1)
	running.Go(func() { served <- server.Serve(listener) })
	defer running.Wait()
	defer stop()

	var err error
	select {
	case err = <-served: // it never ends by itself but for an error
		doors.calls.Drain()
		_ = server.Close()
	case <-ctx.Done():
		logger.LogAttrs(ctx, slog.LevelInfo, "control plane is shutting down")
		doors.calls.Drain()
		ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
		defer cancel()
		if server.Shutdown(ending) != nil {
			_ = server.Close() // whoever is still not done has had its time
		}
		if end := <-served; !errors.Is(end, http.ErrServerClosed) {
			err = end
		}
	}
	stop()
	if noteErr := <-kept; noteErr != nil {
		// All that is lost is when some keys were used last.
		logger.LogAttrs(ctx, slog.LevelWarn, "control plane ended without its last notes", slog.Any("error", noteErr))
	}
	return err
}

// open opens the database, and says for people which one it is.
func (c *controlCmd) open(ctx context.Context, p *process) (kept *store.Store, where string, err error) {
	if !c.DatabaseURL.IsZero() {
		name := p.settings.Name("DATABASE_URL")
		if c.DatabaseURLFile != "" {
			name = p.settings.Name("DATABASE_URL_FILE")
		}
		kept, err = postgres.Open(ctx, postgres.Options{URL: c.DatabaseURL.Reveal(), Timeout: storeTimeout})
		return kept, "PostgreSQL", databaseError(name, "PostgreSQL", err)
	}
	name := p.settings.Name("DATA_DIR")
	dir, err := filepath.Abs(c.DataDir)
	if err == nil {
		err = os.MkdirAll(dir, 0o700)
	}
	if err != nil {
		return nil, "", &config.SettingError{Name: name, Msg: fmt.Sprintf("%s can't be used: %v", c.DataDir, errors.Unwrap(err))}
	}
	where = filepath.Join(dir, databaseName)
	kept, err = sqlite.Open(ctx, sqlite.Options{Path: where, Timeout: storeTimeout})
	return kept, where, databaseError(name, where, err)
}

// databaseError says first what an operator can do something about.
func databaseError(setting, what string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, store.ErrNewer):
		return fmt.Errorf("%s: %s was made by a newer bindu-edge: run that one, or another database: %w", setting, what, err)
	case errors.Is(err, control.ErrFull):
		return fmt.Errorf("%s: there is no room for %s: %w", setting, what, err)
	case errors.Is(err, control.ErrAway):
		return fmt.Errorf("%s: %s can't be reached or opened: %w", setting, what, err)
	default:
		return fmt.Errorf("%s: %w", setting, err)
	}
}

// firstAdmin makes sure that somebody can get in, and prints a key that nobody
// has yet.
func (c *controlCmd) firstAdmin(ctx context.Context, p *process, plane *control.Plane) error {
	given := c.AdminAPIKey.Reveal()
	secret, made, err := plane.FirstAdmin(ctx, given)
	switch {
	case errors.Is(err, control.ErrMalformedToken):
		return &config.SettingError{Name: p.settings.Name("ADMIN_API_KEY_FILE"), Msg: "it holds no API key: make one with bindu-edge key generate"}
	case errors.Is(err, control.ErrUnauthorized):
		return &config.SettingError{Name: p.settings.Name("ADMIN_API_KEY_FILE"), Msg: "the key was revoked, or is no admin's: make another with bindu-edge key generate"}
	case err != nil:
		return err
	case !made || given != "":
		return nil
	}
	return printFirstKey(p.stdout, secret)
}

func printFirstKey(w io.Writer, secret string) error {
	_, err := fmt.Fprintf(w, `
The first admin's API key. It is shown this once:

    %s

`, secret)
	return err
}
