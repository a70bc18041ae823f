package fault

import "errors"

// ErrUnread ends an answer that its caller left unread while too much of the
// same tunnel's answers waited. It comes from reading the answer's body, which has
// begun, so it has no status and no code.
var ErrUnread = errors.New("the caller left the answer unread for too long")
