package admission

// refused counts what each limit has turned away.
type refused struct {
	method, address, auth, guesses, checks, rate, callerRate, inFlight, body, response func()
}

// newRefused asks for each count once, so that a refusal only adds to one.
func newRefused(refusals func(limit string) func()) *refused {
	if refusals == nil {
		refusals = func(string) func() { return func() {} }
	}
	return &refused{
		method: refusals("method"), address: refusals("address"),
		auth: refusals("auth"), guesses: refusals("guesses"), checks: refusals("checks"),
		rate: refusals("rate"), callerRate: refusals("caller_rate"), inFlight: refusals("inflight"),
		body: refusals("body"), response: refusals("response"),
	}
}
