package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/coder/websocket"

	"github.com/getbindu/bindu-edge/internal/wire"
)

// jsonSession is one link of the JSON protocol, served: each request is one
// message and so is each answer. It is for edges that offer nothing else, and
// for those who want to watch the messages: answers arrive whole or not at all,
// and nobody tells us when a caller has gone.
type jsonSession struct {
	agent   *Agent
	ws      *websocket.Conn
	goaway  chan struct{} // never closed: this protocol can't ask an agent to move
	done    chan struct{} // closed when the link has ended
	unlink  func()        // the agent is linked through this session no more
	running *running
	cancel  context.CancelFunc // of all requests
	heard   atomic.Int64       // when a message last came, ns since began
	began   time.Time
	leaving atomic.Bool   // no new requests are served
	slots   chan struct{} // one for each request that runs
	err     error         // how the connection ended; set before done is closed
	broke   error         // the edge's breach of the protocol, which we ended the link for
}

const (
	// maxEdgeMessage bounds a message of the edge, whose own limit we don't know.
	maxEdgeMessage = 16 << 20
	// jsonRequestTimeout ends a handler that nobody may wait for any more.
	jsonRequestTimeout = 5 * time.Minute
)

// errSilent says that the edge fell silent.
var errSilent = errors.New("the edge stopped answering")

func (s *jsonSession) moving() <-chan struct{} { return s.goaway }
func (s *jsonSession) ended() <-chan struct{}  { return s.done }

// serveJSON starts to serve on ws, which belongs to the session from then on.
// Its goroutines end with it.
func (a *Agent) serveJSON(ws *websocket.Conn) *jsonSession {
	ctx, cancel := context.WithCancel(context.Background())
	s := &jsonSession{
		agent: a, ws: ws, goaway: make(chan struct{}), done: make(chan struct{}), running: newRunning(),
		cancel: cancel, began: time.Now(), slots: make(chan struct{}, wire.MaxStreams),
	}
	a.linked.Add(1)
	s.unlink = sync.OnceFunc(func() { a.linked.Add(-1) })
	ws.SetReadLimit(maxEdgeMessage)
	read := make(chan struct{})
	go func() {
		defer close(read)
		s.err = s.read(ctx)
	}()
	go func() {
		defer close(s.done)
		defer s.unlink()
		defer cancel()
		silent := s.heartbeat(read)
		_ = ws.CloseNow()
		<-read
		if silent {
			s.err = errSilent
		}
	}()
	return s
}

// read serves the edge's messages until the link ends.
func (s *jsonSession) read(ctx context.Context) error {
	for {
		kind, raw, err := s.ws.Read(context.Background())
		if err != nil {
			return err
		}
		code, bad := websocket.StatusPolicyViolation, error(nil)
		switch {
		case kind != websocket.MessageText:
			code, bad = websocket.StatusUnsupportedData, errors.New("only text messages are allowed")
		case !utf8.Valid(raw):
			code, bad = websocket.StatusInvalidFramePayloadData, errors.New("the message is not UTF-8")
		default:
			bad = s.take(ctx, raw)
		}
		if bad != nil {
			s.broke = bad
			_ = s.ws.Close(code, bad.Error())
			return bad
		}
		s.heard.Store(int64(time.Since(s.began)))
	}
}

// edgeMessage is any message of an edge.
type edgeMessage struct {
	Type string `json:"type"`

	RequestID    *string           `json:"request_id"`
	Method       *string           `json:"method"`
	Path         *string           `json:"path"`
	Headers      map[string]string `json:"headers"`
	Body         *string           `json:"body"`
	BodyEncoding string            `json:"body_encoding"`
}

// take acts on one message. Its error is a breach of the protocol, in words for
// the edge.
func (s *jsonSession) take(ctx context.Context, raw []byte) error {
	var kind struct {
		Type string `json:"type"`
	}
	if err := json.Unmarshal(raw, &kind); err != nil {
		return errors.New("the message is no JSON object with a type")
	}
	switch kind.Type {
	case wire.TypePing:
		s.write([]byte(`{"type":"` + wire.TypePong + `"}`))
		return nil
	case wire.TypePong, wire.TypeConnected: // what it tells stands in the handshake, too
		return nil
	case wire.TypeRequest:
	default:
		return errors.New("the message has no type that an edge may send")
	}
	var m edgeMessage
	if err := json.Unmarshal(raw, &m); err != nil {
		return errors.New("a field of a request has the wrong JSON type")
	}
	if m.RequestID == nil || m.Method == nil || m.Path == nil || m.Headers == nil {
		return errors.New("a request lacks a field")
	}
	s.running.enter()
	select {
	case s.slots <- struct{}{}:
		go func() {
			defer s.running.leave()
			defer func() { <-s.slots }()
			s.answer(ctx, &m)
		}()
	default:
		defer s.running.leave()
		s.write(refusalMessage(*m.RequestID, "The agent is at its limit of requests.", maxJSONAnswer))
	}
	return nil
}

// answer serves one request. No fault of a request ends the link.
func (s *jsonSession) answer(ctx context.Context, m *edgeMessage) {
	if s.leaving.Load() {
		s.write(refusalMessage(*m.RequestID, "The agent is shutting down.", maxJSONAnswer))
		return
	}
	ctx, cancel := context.WithTimeout(ctx, jsonRequestTimeout)
	defer cancel()
	w := newBuffered()
	if r, err := requestOf(ctx, m); err != nil {
		w.fail(400, "The request can't be served: "+err.Error()+".")
	} else {
		r, span := s.agent.traces.start(r)
		w.serve(s.agent.opts.Handler, r, s.agent.log)
		span.served(w.status, w.sent, true)
	}
	if ctx.Err() == nil {
		s.write(w.message(*m.RequestID, maxJSONAnswer))
	}
}

// write sends a message. What fails is noticed by the reader.
func (s *jsonSession) write(message []byte) {
	_ = s.ws.Write(context.Background(), websocket.MessageText, message)
}

// heartbeat asks a silent edge whether it lives. It returns when read is closed,
// or, with true, when the edge does not answer.
func (s *jsonSession) heartbeat(read <-chan struct{}) (silent bool) {
	interval, patience := s.agent.opts.PingInterval, s.agent.opts.PingTimeout
	tick := time.NewTimer(interval)
	defer tick.Stop()
	var asked time.Duration // when it was asked, since began; 0 = not
	for {
		select {
		case <-read:
			return false
		case <-tick.C:
		}
		heard, now := time.Duration(s.heard.Load()), time.Since(s.began)
		switch {
		case now-heard < interval:
			asked = 0
			tick.Reset(interval - (now - heard))
		case asked == 0 || heard > asked:
			// However late we are, after a machine's sleep say: it is asked first.
			asked = now
			s.running.enter()
			go func() { // an edge that does not read must not block us
				defer s.running.leave()
				s.write([]byte(`{"type":"` + wire.TypePing + `"}`))
			}()
			tick.Reset(patience)
		default:
			return true
		}
	}
}

// finish ends the link in order: new requests are refused, those in flight run
// on until ctx ends, then the connection closes.
func (s *jsonSession) finish(ctx context.Context) {
	s.unlink()
	s.leaving.Store(true)
	s.running.wait(ctx)
	_ = s.ws.Close(websocket.StatusNormalClosure, "")
	<-s.done
	s.running.notice()
}

// errDraining says that the edge shuts down, and that another one should be tried.
var errDraining = errors.New("the edge closed the link because it shuts down")

// end says why the link ended; call it after done. An edge closes with 1001 when
// it drains, 1013 when it has no room now, and 1008 with its reason when the
// tunnel has ended or we broke the protocol: connecting again tells which.
func (s *jsonSession) end() error {
	ce, told := errors.AsType[websocket.CloseError](s.err)
	switch {
	case told && ce.Code == websocket.StatusGoingAway:
		return fmt.Errorf("%w: %s", errDraining, printable(ce.Reason))
	case told && ce.Reason != "":
		return errors.New("the edge closed the link: " + printable(ce.Reason))
	case told:
		return errors.New("the edge closed the link")
	case errors.Is(s.err, errSilent):
		return errSilent
	case s.broke != nil:
		return fmt.Errorf("the edge broke the protocol: %w", s.broke)
	default:
		return errors.New("the connection to the edge broke")
	}
}
