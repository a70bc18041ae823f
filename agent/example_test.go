package agent_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/getbindu/bindu-edge/agent"
)

// Serve a handler to the public without opening a port.
func ExampleNew() {
	edge := startEdge() // yours is at a URL like https://edge.example.com
	defer edge.Close()

	online := make(chan string, 1)
	a, err := agent.New(agent.Options{
		Edge: edge.URL,
		// TunnelID and Token: what the edge's operator gave you.
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprintf(w, "hello, %s\n", strings.TrimPrefix(r.URL.Path, "/"))
		}),
		OnState: func(s agent.State) {
			if s.Phase == agent.Online {
				online <- s.PublicURL
			}
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- a.Run(ctx) }()

	fmt.Print(fetch(<-online + "world"))
	stop()
	fmt.Println(<-done)
	// Output:
	// hello, world
	// <nil>
}

// Expose a server that listens on this machine.
func ExampleLocal() {
	edge := startEdge() // yours is at a URL like https://edge.example.com
	defer edge.Close()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s from the server\n", r.RequestURI)
	}))
	defer server.Close()

	local, err := agent.Local(server.URL, agent.LocalOptions{})
	if err != nil {
		fmt.Println(err)
		return
	}
	online := make(chan string, 1)
	a, err := agent.New(agent.Options{Edge: edge.URL, Handler: local, OnState: func(s agent.State) {
		if s.Phase == agent.Online {
			online <- s.PublicURL
		}
	}})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- a.Run(ctx) }()

	fmt.Print(fetch(<-online + "a%2Fb?c"))
	stop()
	fmt.Println(<-done)
	// Output:
	// /a%2Fb?c from the server
	// <nil>
}

func fetch(url string) string {
	defer http.DefaultClient.CloseIdleConnections()
	res, err := http.Get(url)
	if err != nil {
		return err.Error()
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return err.Error()
	}
	return string(body)
}
