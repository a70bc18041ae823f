package admission

// TakeSlot takes the place of a check until free is called.
func (g *Guard) TakeSlot() (free func()) {
	g.slots <- struct{}{}
	return func() { <-g.slots }
}
