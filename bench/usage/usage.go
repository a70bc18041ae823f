// Package usage reads what processes of this machine use: processor time and
// memory. It decides nothing. Its input is the kernel, which is trusted.
package usage

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// CPU is the processor time, user and system, that the processes have used
// since they started, threads that have ended included.
func CPU(pids ...int) (time.Duration, error) {
	var sum time.Duration
	for _, pid := range pids {
		used, err := cpu(pid)
		if err != nil {
			return 0, fmt.Errorf("processor time of process %d: %w", pid, err)
		}
		sum += used
	}
	return sum, nil
}

// Resident is how many bytes of memory a process occupies (VmRSS).
func Resident(pid int) (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	return parseResident(text)
}

// parseResident finds "VmRSS:   1756 kB", where kB are 1024 bytes (proc(5)).
func parseResident(status []byte) (int64, error) {
	lines := bufio.NewScanner(bytes.NewReader(status))
	for lines.Scan() {
		if rest, ok := strings.CutPrefix(lines.Text(), "VmRSS:"); ok {
			n, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			if err != nil {
				return 0, fmt.Errorf("VmRSS: %w", err)
			}
			return n << 10, nil
		}
	}
	return 0, fmt.Errorf("no VmRSS in %q", status)
}

// Family is a process and its children, such as a master and its workers.
func Family(pid int) ([]int, error) {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil, err
	}
	family := []int{pid}
	for _, name := range stats {
		text, err := os.ReadFile(name)
		if err != nil {
			continue // it has ended meanwhile
		}
		s, err := parseStat(string(text))
		if err != nil {
			return nil, err
		}
		if s.parent == pid {
			family = append(family, s.pid)
		}
	}
	return family, nil
}

// stat is what we ask of /proc/PID/stat.
type stat struct {
	pid, parent int
	ticks       int64 // user and system
}

// parseStat reads proc_pid_stat(5). The name, in brackets, may itself have
// spaces and brackets.
func parseStat(text string) (stat, error) {
	first, _, _ := strings.Cut(text, " ")
	pid, err := strconv.Atoi(first)
	if err != nil {
		return stat{}, fmt.Errorf("stat: %w", err)
	}
	fields := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
	if len(fields) < 13 {
		return stat{}, fmt.Errorf("stat of process %d is cut short: %q", pid, text)
	}
	var n [3]int64
	for i, field := range []int{1, 11, 12} { // ppid, utime, stime: numbers 4, 14 and 15 of the page
		if n[i], err = strconv.ParseInt(fields[field], 10, 64); err != nil {
			return stat{}, fmt.Errorf("stat of process %d: %w", pid, err)
		}
	}
	return stat{pid: pid, parent: int(n[0]), ticks: n[1] + n[2]}, nil
}

// tick is the unit of stat's times: USER_HZ, which is 100 wherever Go runs on
// Linux.
const tick = time.Second / 100

// ticked is the processor time by /proc/PID/stat, which knows no less than 10 ms.
func ticked(pid int) (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	s, err := parseStat(string(text))
	if err != nil {
		return 0, err
	}
	return time.Duration(s.ticks) * tick, nil
}
