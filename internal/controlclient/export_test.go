package controlclient

// LimitMinutes makes c keep fewer than MaxMinutes.
func LimitMinutes(c *Counts, most int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.most = most
}
