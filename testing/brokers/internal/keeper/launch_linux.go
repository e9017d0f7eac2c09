package keeper

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/waybill-go/waybill/testing/brokers/internal/recipe"
)

// Launch starts an instance of its own for an owner.
func Launch(ctx context.Context, owner Process, i recipe.Installation, nodes int) (*Record, error) {
	base, err := folder(owner)
	if err != nil {
		return nil, err
	}
	lock, err := os.CreateTemp(base, "private-*.lock")
	if err != nil {
		return nil, err
	}
	defer func() { _ = lock.Close() }()
	return launch(ctx, base, strings.TrimSuffix(lock.Name(), ".lock")+".json", lock, owner, i, nodes)
}

// Share finds the instance that an owner's programs share, and starts it if it does not run.
func Share(ctx context.Context, owner Process, i recipe.Installation, nodes int) (*Record, error) {
	base, err := folder(owner)
	if err != nil {
		return nil, err
	}
	name := filepath.Join(base, fmt.Sprintf("%s-%s-%d", i.Kind, i.Version, nodes))
	lock, err := Lock(ctx, name+".lock")
	if err != nil {
		return nil, err
	}
	defer func() { _ = lock.Close() }()
	var r Record
	if err := readJSON(name+".json", &r); err == nil && r.Keeper.Alive() {
		return &r, nil
	}
	return launch(ctx, base, name+".json", lock, owner, i, nodes)
}

// Shared finds the running instance that an owner's programs share and that has an address.
func Shared(owner Process, url string) (*Record, bool) {
	base, err := folder(owner)
	if err != nil {
		return nil, false
	}
	paths, err := filepath.Glob(filepath.Join(base, "*.json"))
	if err != nil {
		return nil, false
	}
	for _, path := range paths {
		var r Record
		if readJSON(path, &r) == nil && r.URL == url && r.Keeper.Alive() {
			return &r, true
		}
	}
	return nil, false
}

// launch starts a keeper and waits until its instance runs. The keeper has the lock
// too, so that others go on waiting should this process die.
func launch(ctx context.Context, base, record string, lock *os.File, owner Process, i recipe.Installation, nodes int) (*Record, error) {
	dir, err := os.MkdirTemp(base, string(i.Kind)+"-")
	if err != nil {
		return nil, err
	}
	kept := false
	defer func() {
		if !kept {
			_ = os.RemoveAll(dir)
		}
	}()
	if len(filepath.Join(dir, socket)) > 100 {
		return nil, fmt.Errorf("%s is too long a path for a socket: set TMPDIR to a shorter one", dir)
	}
	if err := writeJSON(filepath.Join(dir, specFile), Spec{Installation: i, Nodes: nodes, Owner: owner, Record: record}); err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	ready, told, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer func() { _ = ready.Close() }()
	log, err := os.Create(filepath.Join(dir, "keeper.log")) //nolint:gosec // a file of ours
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }()

	cmd := exec.CommandContext(context.WithoutCancel(ctx), self) //nolint:gosec // this very program
	cmd.Env = append(os.Environ(), variable+"="+dir)
	cmd.Dir = dir
	cmd.Stdout, cmd.Stderr = log, log
	cmd.ExtraFiles = []*os.File{told, lock}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if i.Rooted() {
		// What it mounts is seen by it alone, and ends with it.
		cmd.SysProcAttr.Unshareflags = syscall.CLONE_NEWNS
	}
	err = cmd.Start()
	_ = told.Close()
	if errors.Is(err, syscall.EPERM) && i.Rooted() {
		return nil, fmt.Errorf("RabbitMQ %s needs mounts of its own, which this system forbids (in a container, give it CAP_SYS_ADMIN): %w", i.Version, err)
	}
	if err != nil {
		return nil, fmt.Errorf("start the keeper of %s: %w", i.Kind, err)
	}
	kept = true // it is the keeper's now
	go func() { _ = cmd.Wait() }()

	stop := context.AfterFunc(ctx, func() { _ = cmd.Process.Signal(syscall.SIGTERM) })
	defer stop()
	var out outcome
	switch err := json.NewDecoder(ready).Decode(&out); {
	case err != nil:
		return nil, fmt.Errorf("the keeper of %s ended: %w", i.Kind, errors.Join(err, context.Cause(ctx)))
	case out.Error != "":
		return nil, fmt.Errorf("start %s %s: %s", i.Kind, i.Version, out.Error)
	}
	return out.Record, nil
}
