package stage

import (
	"os"
	"syscall"
)

// dieWithParent asks the kernel to end the process when the benchmark is killed
// and can't do so itself. SIGTERM, because a master must take its workers along.
// A group of its own keeps a ^C away: Close ends the processes, in its time.
func dieWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
}

// kill ends a process and its group.
func kill(p *os.Process) { _ = syscall.Kill(-p.Pid, syscall.SIGKILL) } // it may have ended by itself
