package main

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"sync/atomic"
)

// seenResponse notes status and size of what passes through.
type seenResponse struct {
	http.ResponseWriter
	status int
	bytes  atomic.Int64
}

func (s *seenResponse) WriteHeader(status int) {
	if s.status == 0 && (status >= 200 || status == http.StatusSwitchingProtocols) {
		s.status = status
	}
	s.ResponseWriter.WriteHeader(status)
}

func (s *seenResponse) Write(p []byte) (int, error) {
	if s.status == 0 {
		s.status = http.StatusOK
	}
	n, err := s.ResponseWriter.Write(p)
	s.bytes.Add(int64(n))
	return n, err
}

// Flush is for handlers that ask for an http.Flusher.
func (s *seenResponse) Flush() { _ = http.NewResponseController(s.ResponseWriter).Flush() }

// Unwrap is for http.ResponseController.
func (s *seenResponse) Unwrap() http.ResponseWriter { return s.ResponseWriter }

// Hijack hands out the connection of an upgrade, counted.
func (s *seenResponse) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, _, err := http.NewResponseController(s.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	s.status = http.StatusSwitchingProtocols
	counted := &seenConn{Conn: conn, response: s}
	return counted, bufio.NewReadWriter(bufio.NewReader(counted), bufio.NewWriter(counted)), nil
}

type seenConn struct {
	net.Conn
	response *seenResponse
}

func (c *seenConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.response.bytes.Add(int64(n))
	return n, err
}

type countedBody struct {
	io.ReadCloser
	n atomic.Int64
}

func (b *countedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.n.Add(int64(n))
	return n, err
}
