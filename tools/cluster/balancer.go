package main

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"sync"
	"sync/atomic"
	"time"
)

// balancer sends each request to the next pod that is ready. It is as simple as
// one can be that still loses no request when a pod is stopped in order.
type balancer struct {
	pods    []*pod
	next    atomic.Uint64
	server  *http.Server
	stop    context.CancelFunc
	running sync.WaitGroup
}

type pod struct {
	address string
	ready   atomic.Bool
}

func newBalancer(ctx context.Context, address string, addresses []string) (*balancer, error) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	b := &balancer{}
	for _, a := range addresses {
		b.pods = append(b.pods, &pod{address: a})
	}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: "http", Host: "pod"}) // the transport chooses
			r.Out.Host = r.In.Host
			r.SetXForwarded()
		},
		Transport:     b,
		FlushInterval: -1,
	}
	b.server = &http.Server{Handler: proxy, ReadHeaderTimeout: 10 * time.Second}
	looking, stop := context.WithCancel(context.WithoutCancel(ctx))
	b.stop = stop
	for _, p := range b.pods {
		p.await(ctx)
		b.running.Go(func() { p.watch(looking) })
	}
	b.running.Go(func() { _ = b.server.Serve(listener) })
	return b, nil
}

// await waits until the pod takes requests, or ctx ends.
func (p *pod) await(ctx context.Context) {
	again := time.NewTicker(100 * time.Millisecond)
	defer again.Stop()
	for p.look(ctx); !p.ready.Load(); p.look(ctx) {
		select {
		case <-again.C:
		case <-ctx.Done():
			return
		}
	}
}

// watch looks again and again until ctx ends.
func (p *pod) watch(ctx context.Context) {
	every := time.NewTicker(500 * time.Millisecond)
	defer every.Stop()
	for {
		select {
		case <-every.C:
			p.look(ctx)
		case <-ctx.Done():
			return
		}
	}
}

// look asks a pod whether it takes requests.
func (p *pod) look(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.address+"/health/ready", nil)
	if err != nil {
		return
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		p.ready.Store(false)
		return
	}
	_ = res.Body.Close()
	p.ready.Store(res.StatusCode == http.StatusOK)
}

var toPods = &http.Transport{
	DialContext:         (&net.Dialer{Timeout: 2 * time.Second}).DialContext,
	MaxIdleConnsPerHost: 256,
}

// RoundTrip tries the pods in turn: those that are ready, and another one when a
// pod takes no connection, since then it has seen nothing.
func (b *balancer) RoundTrip(req *http.Request) (*http.Response, error) {
	err := errors.New("no pod is ready")
	first := b.next.Add(1)
	for i := range b.pods {
		p := b.pods[(first+uint64(i))%uint64(len(b.pods))]
		if !p.ready.Load() {
			continue
		}
		out := req.Clone(req.Context())
		out.URL.Host = p.address
		var res *http.Response
		if res, err = toPods.RoundTrip(out); err == nil {
			return res, nil
		}
		if op, ok := errors.AsType[*net.OpError](err); !ok || op.Op != "dial" {
			return nil, err
		}
	}
	return nil, err
}

func (b *balancer) close() {
	b.stop()
	_ = b.server.Close()
	b.running.Wait()
}
