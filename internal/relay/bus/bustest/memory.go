// Package bustest is the conformance suite of message buses as internal/relay/bus
// wants them, with a bus in memory and one that tampers. It decides what every
// carrier must do, whatever broker is below; it never looks inside one. It is
// for tests alone, and what it is given is the tests' own.
package bustest

import (
	"bytes"
	"context"
	"errors"
	"sync"

	"github.com/getbindu/bindu-edge/internal/relay/bus"
)

// Memory is a message bus within the process. Its zero value is ready.
type Memory struct {
	mu          sync.Mutex
	down        bool
	subscribers map[string]bus.Receiver
	lines       map[*memoryLine]func(error)
}

// Connect implements bus.Broker.
func (m *Memory) Connect(_ context.Context, lost func(error)) (bus.Line, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.down {
		return nil, errors.New("the bus in memory is down")
	}
	if m.lines == nil {
		m.lines, m.subscribers = map[*memoryLine]func(error){}, map[string]bus.Receiver{}
	}
	l := &memoryLine{bus: m, own: map[string]bool{}}
	m.lines[l] = lost
	return l, nil
}

// Stop loses all lines; Start lets new ones be made.
func (m *Memory) Stop() {
	m.mu.Lock()
	m.down = true
	lines := m.lines
	m.lines, m.subscribers = nil, nil
	m.mu.Unlock()
	for _, lost := range lines {
		lost(errors.New("the bus in memory went down"))
	}
}

// Start ends what Stop began.
func (m *Memory) Start() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.down = false
}

// Subscriptions is how many there are.
func (m *Memory) Subscriptions() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.subscribers)
}

// Lines is how many connections there are.
func (m *Memory) Lines() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.lines)
}

type memoryLine struct {
	bus *Memory
	own map[string]bool
}

func (l *memoryLine) alive() bool { return l.bus.lines[l] != nil }

var errLineClosed = errors.New("the line is closed")

func (l *memoryLine) Subscribe(_ context.Context, subject string, r bus.Receiver) (func(), error) {
	l.bus.mu.Lock()
	defer l.bus.mu.Unlock()
	if !l.alive() {
		return nil, errLineClosed
	}
	l.bus.subscribers[subject] = r
	l.own[subject] = true
	return func() {
		l.bus.mu.Lock()
		defer l.bus.mu.Unlock()
		delete(l.own, subject)
		delete(l.bus.subscribers, subject)
	}, nil
}

func (l *memoryLine) Publish(subject, _ string, frames ...[]byte) error {
	for _, f := range frames {
		l.bus.mu.Lock()
		if !l.alive() {
			l.bus.mu.Unlock()
			return errLineClosed
		}
		r := l.bus.subscribers[subject]
		l.bus.mu.Unlock()
		if r == nil {
			return bus.ErrNobody
		}
		r.Deliver(bytes.Clone(f))
	}
	return nil
}

func (l *memoryLine) Close() {
	l.bus.mu.Lock()
	defer l.bus.mu.Unlock()
	delete(l.bus.lines, l)
	for subject := range l.own {
		delete(l.bus.subscribers, subject)
	}
}

// Tamper is a Broker that passes what is published through Change.
type Tamper struct {
	bus.Broker
	// Change gets each frame and gives what is published in its place. It is
	// called concurrently, and in order for each sender.
	Change func(subject string, frame []byte) [][]byte
}

// Connect implements bus.Broker.
func (t *Tamper) Connect(ctx context.Context, lost func(error)) (bus.Line, error) {
	l, err := t.Broker.Connect(ctx, lost)
	if err != nil {
		return nil, err
	}
	return &tamperLine{l, t}, nil
}

type tamperLine struct {
	bus.Line
	tamper *Tamper
}

func (l *tamperLine) Publish(subject, from string, frames ...[]byte) error {
	var changed [][]byte
	for _, f := range frames {
		changed = append(changed, l.tamper.Change(subject, f)...)
	}
	if len(changed) == 0 {
		return nil
	}
	return l.Line.Publish(subject, from, changed...)
}
