package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/url"
	"time"

	"github.com/getbindu/bindu-edge/internal/control"
	"github.com/getbindu/bindu-edge/internal/control/api"
	"github.com/getbindu/bindu-edge/internal/control/store"
	"github.com/getbindu/bindu-edge/internal/control/store/sqlite"
)

// localPatience is for requests of dev's page that are under way at the end.
const localPatience = 300 * time.Millisecond

// localPlane is dev's control plane: in memory, and on this machine alone
// whatever the edge listens on, as its page signs in the person at the keyboard.
type localPlane struct {
	plane   *control.Plane
	kept    *store.Store
	url     *url.URL
	page    string // URL that signs in, once
	edgeKey string

	end    context.CancelFunc
	served chan error
}

// newLocalPlane makes a control plane and serves it until stop is called.
func newLocalPlane(ctx context.Context, edge *url.URL, logger *slog.Logger) (*localPlane, error) {
	kept, err := sqlite.Open(ctx, sqlite.Options{}) // in memory
	if err != nil {
		return nil, err
	}
	p := &localPlane{kept: kept, served: make(chan error, 1)}
	if err := p.start(ctx, edge, logger); err != nil {
		return nil, errors.Join(err, kept.Close())
	}
	return p, nil
}

func (p *localPlane) start(ctx context.Context, edge *url.URL, logger *slog.Logger) error {
	var err error
	if p.plane, err = control.New(control.Options{Store: p.kept, Logger: logger}); err != nil {
		return err
	}
	doors, err := newDoors(p.plane, api.Options{RequireEdgeKey: true, Logger: logger}, edge)
	if err != nil {
		return err
	}
	person, _, err := p.plane.CreateKey(ctx, "you", control.RoleAdmin)
	if err != nil {
		return err
	}
	if _, p.edgeKey, err = p.plane.CreateKey(ctx, "dev's edge", control.RoleEdge); err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	p.url = &url.URL{Scheme: "http", Host: listener.Addr().String()}
	p.page = localURL(listener.Addr(), "").String() + doors.page.Invite(person)
	var serving context.Context
	serving, p.end = context.WithCancel(context.WithoutCancel(ctx))
	go func() { p.served <- serveControl(serving, listener, p.plane, doors, localPatience, logger) }()
	return nil
}

// stop ends what newLocalPlane began. The edge must have ended.
func (p *localPlane) stop() error {
	p.end()
	return errors.Join(<-p.served, p.kept.Close())
}
