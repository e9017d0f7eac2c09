package main

import (
	"os/exec"
	"syscall"
)

// tie makes a command end with this process, however that ends.
func tie(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
