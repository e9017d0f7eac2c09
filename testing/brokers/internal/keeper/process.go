package keeper

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// A Process is one process and no other that gets its number later.
type Process struct {
	PID   int
	Start string // in ticks since the machine's boot, as the kernel tells it
}

// Find identifies a running process.
func Find(pid int) (Process, error) {
	_, start, err := stat(pid)
	if err != nil {
		return Process{}, fmt.Errorf("process %d: %w", pid, err)
	}
	return Process{PID: pid, Start: start}, nil
}

// Alive is false once the process has ended, also while nobody has waited for it.
func (p Process) Alive() bool {
	state, start, err := stat(p.PID)
	return err == nil && start == p.Start && state != "Z" && state != "X"
}

// String is a name for files.
func (p Process) String() string { return strconv.Itoa(p.PID) + "-" + p.Start }

// stat reads a process's state and start. The name before them is in parentheses
// and may hold anything.
func stat(pid int) (state, start string, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", "", err
	}
	fields := bytes.Fields(text[bytes.LastIndexByte(text, ')')+1:])
	if len(fields) < 20 {
		return "", "", fmt.Errorf("its stat has %d fields", len(fields))
	}
	return string(fields[0]), string(fields[19]), nil
}

// ParseProcess reads what String writes.
func ParseProcess(s string) (Process, error) {
	pid, start, ok := strings.Cut(s, "-")
	n, err := strconv.Atoi(pid)
	if !ok || err != nil || start == "" {
		return Process{}, fmt.Errorf("%q names no process", s)
	}
	return Process{PID: n, Start: start}, nil
}
