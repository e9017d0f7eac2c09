package keeper

import (
	"context"
	"os/exec"
	"runtime"
	"syscall"

	"github.com/waybill-go/waybill/testing/brokers/internal/recipe"
)

// A spawner starts processes from one thread that lives as long as this process.
// The kernel ties the signal at a parent's death to the thread that started the
// child, and Go's threads come and go.
type spawner struct{ jobs chan func() }

func newSpawner() *spawner {
	s := &spawner{jobs: make(chan func())}
	go func() {
		runtime.LockOSThread()
		for job := range s.jobs {
			job()
		}
	}()
	return s
}

func (s *spawner) start(cmd *exec.Cmd) error {
	done := make(chan error)
	s.jobs <- func() { done <- cmd.Start() }
	return <-done
}

// command makes a process that dies with this one, in a process group of its own.
func command(ctx context.Context, c recipe.Command) *exec.Cmd {
	cmd := exec.CommandContext(ctx, c.Path, c.Args...) //nolint:gosec // what the recipe says
	cmd.Env, cmd.Dir = c.Env, c.Dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true, Chroot: c.Root}
	return cmd
}
