package usage

import (
	"time"

	"golang.org/x/sys/unix"
)

// cpu asks the clock that the kernel keeps for each process, in ns: the same
// account as /proc/PID/schedstat summed over the threads, which not every kernel
// has and which forgets threads that ended. Where even the clock is missing,
// ticks must do.
func cpu(pid int) (time.Duration, error) {
	var ts unix.Timespec
	if err := unix.ClockGettime(processClock(pid), &ts); err != nil {
		return ticked(pid)
	}
	return time.Duration(ts.Nano()), nil
}

// processClock is the id that clock_getcpuclockid(3) gives: the process id
// inverted above three bits, of which 2 stands for what the scheduler counts.
// Process ids have 22 bits at most.
func processClock(pid int) int32 { return int32(^pid<<3 | 2) }
