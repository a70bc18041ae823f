//go:build !linux

package stage

import (
	"os"
	"syscall"
)

func dieWithParent() *syscall.SysProcAttr { return nil }

func kill(p *os.Process) { _ = p.Kill() } // it may have ended by itself
