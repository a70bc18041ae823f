//go:build !linux

package wsconn

import "syscall"

const canTry = false

func tryRead(uintptr, []byte) (n int, again bool, err error) { return 0, false, syscall.ENOSYS }
