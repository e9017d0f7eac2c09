package keeper

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"

	"github.com/waybill-go/waybill/testing/brokers/internal/recipe"
)

// A server is one process of an instance, which may be stopped and started again.
type server struct {
	node  recipe.Node
	log   string
	spawn *spawner
	// patience is how long the process may take to end when it is asked to.
	patience time.Duration

	turn   chan struct{} // holds one token: whoever has it changes the process
	cmd    *exec.Cmd
	exited chan struct{} // closed once cmd has ended
}

func newServer(node recipe.Node, log string, spawn *spawner) *server {
	s := &server{node: node, log: log, spawn: spawn, patience: orderly, turn: make(chan struct{}, 1)}
	s.turn <- struct{}{}
	return s
}

// running is asked with the turn taken.
func (s *server) running() bool {
	if s.cmd == nil {
		return false
	}
	select {
	case <-s.exited:
		return false
	default:
		return true
	}
}

// with runs an action with the turn taken, on a process that runs or does not.
func (s *server) with(ctx context.Context, running bool, action func() error) error {
	select {
	case <-s.turn:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer func() { s.turn <- struct{}{} }()
	switch is := s.running(); {
	case is && !running:
		return errors.New("it runs already")
	case !is && running:
		return errors.New("it does not run")
	}
	return action()
}

func (s *server) start(ctx context.Context) error {
	return s.with(ctx, false, func() error {
		log, err := os.OpenFile(s.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			return err
		}
		defer func() { _ = log.Close() }()
		cmd := command(context.WithoutCancel(ctx), s.node.Command)
		cmd.Stdout, cmd.Stderr = log, log
		if err := s.spawn.start(cmd); err != nil {
			return err
		}
		s.cmd, s.exited = cmd, make(chan struct{})
		go func(exited chan struct{}) {
			_ = cmd.Wait()
			close(exited)
		}(s.exited)
		return s.ready(ctx)
	})
}

// ready waits until the server serves.
func (s *server) ready(ctx context.Context) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		try, cancel := context.WithTimeout(ctx, 2*time.Second)
		err := s.node.Ready(try)
		cancel()
		if err == nil {
			return nil
		}
		select {
		case <-s.exited:
			return fmt.Errorf("it ended while it was starting: %v\n%s", s.cmd.ProcessState, tail(s.log))
		case <-ctx.Done():
			return fmt.Errorf("it did not become ready: %w: %w\n%s", context.Cause(ctx), err, tail(s.log))
		case <-tick.C:
		}
	}
}

// orderly is how long a broker's process may take to end by itself. A Kafka whose controllers were
// stopped before it waits for them for five minutes.
const orderly = 30 * time.Second

// stop asks the process to end, and ends it where that takes too long.
func (s *server) stop(ctx context.Context) error {
	return s.with(ctx, true, func() error {
		// One that is paused would not hear of it.
		if err := errors.Join(s.cmd.Process.Signal(syscall.SIGTERM), s.cmd.Process.Signal(syscall.SIGCONT)); err != nil {
			return err
		}
		patience := time.NewTimer(s.patience)
		defer patience.Stop()
		select {
		case <-s.exited:
			return nil
		case <-patience.C:
			_ = s.cmd.Process.Kill() // or it has just ended
		case <-ctx.Done():
		}
		return s.gone(ctx)
	})
}

func (s *server) kill(ctx context.Context) error {
	return s.with(ctx, true, func() error {
		if err := s.cmd.Process.Kill(); err != nil {
			return err
		}
		return s.gone(ctx)
	})
}

func (s *server) signal(ctx context.Context, sig syscall.Signal) error {
	return s.with(ctx, true, func() error { return s.cmd.Process.Signal(sig) })
}

func (s *server) gone(ctx context.Context) error {
	select {
	case <-s.exited:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// tail is the end of a log, for an error.
func tail(path string) string {
	const most = 2000
	text, err := os.ReadFile(path) //nolint:gosec // a log of ours
	if err != nil {
		return ""
	}
	text = bytes.TrimSpace(text)
	return string(text[max(0, len(text)-most):])
}
