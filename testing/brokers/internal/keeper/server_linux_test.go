package keeper

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/waybill-go/waybill/testing/brokers/internal/recipe"
)

// runScript starts a shell's script that says "up" when it has done what matters.
func runScript(t *testing.T, script string) *server {
	t.Helper()
	log := filepath.Join(t.TempDir(), "log")
	spawn := newSpawner()
	t.Cleanup(func() { close(spawn.jobs) }) // and all that it started ends
	s := newServer(recipe.Node{
		Command: recipe.Command{Path: "/bin/sh", Args: []string{"-c", script}, Env: os.Environ()},
		Ready: func(context.Context) error {
			if text, err := os.ReadFile(log); err != nil || !bytes.Contains(text, []byte("up")) {
				return errors.Join(errors.New("it is not up"), err)
			}
			return nil
		},
	}, log, spawn)
	if err := s.start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

func end(s *server) syscall.Signal {
	<-s.exited
	return s.cmd.ProcessState.Sys().(syscall.WaitStatus).Signal()
}

// What does not end when it is asked to is killed, after a while.
func TestStopOfWhatDoesNotEnd(t *testing.T) {
	t.Parallel()
	s := runScript(t, "trap '' TERM; echo up; exec sleep 3600")
	s.patience = 300 * time.Millisecond
	began := time.Now()
	if err := s.stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took < s.patience {
		t.Errorf("it ended after %v, and should have had %v", took, s.patience)
	}
	if by := end(s); by != syscall.SIGKILL {
		t.Errorf("it ended by %v", by)
	}
}

func TestStopOfWhatEnds(t *testing.T) {
	t.Parallel()
	s := runScript(t, "echo up; exec sleep 3600")
	if err := s.stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if by := end(s); by != syscall.SIGTERM {
		t.Errorf("it ended by %v", by)
	}
}

// Who asks may wait for less. The process is not killed for it.
func TestStopThatNobodyWaitsFor(t *testing.T) {
	t.Parallel()
	s := runScript(t, "trap '' TERM; echo up; exec sleep 3600")
	enough := errors.New("enough")
	ctx, cancel := context.WithTimeoutCause(t.Context(), 100*time.Millisecond, enough)
	defer cancel()
	if err := s.stop(ctx); !errors.Is(err, enough) {
		t.Errorf("got %v", err)
	}
	if !s.running() {
		t.Error("it has ended")
	}
	if err := s.kill(t.Context()); err != nil {
		t.Error(err)
	}
}
