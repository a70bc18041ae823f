package bus

import (
	"context"
	"errors"
)

// noBroker reaches nothing.
type noBroker struct{}

func (noBroker) Connect(context.Context, func(error)) (Line, error) {
	return nil, errors.New("there is no broker")
}

// noLine swallows what is published.
type noLine struct{}

func (noLine) Subscribe(context.Context, string, Receiver) (func(), error) { return func() {}, nil }
func (noLine) Publish(string, string, ...[]byte) error                     { return nil }
func (noLine) Close()                                                      {}
