package keeper

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// folder is where the instances of an owner are. Those of owners that are gone, which
// only a keeper that was killed leaves behind, are taken away.
func folder(owner Process) (string, error) {
	top := filepath.Join(os.TempDir(), "waybill-brokers-"+strconv.Itoa(os.Getuid()))
	if err := os.MkdirAll(top, 0o700); err != nil {
		return "", err
	}
	info, err := os.Lstat(top)
	if err != nil {
		return "", err
	}
	if s, ok := info.Sys().(*syscall.Stat_t); !info.IsDir() || ok && int(s.Uid) != os.Getuid() || info.Mode().Perm()&0o077 != 0 {
		return "", fmt.Errorf("%s is not a folder that only this user can enter: remove it", top)
	}
	sweep(top)
	dir := filepath.Join(top, owner.String())
	return dir, os.MkdirAll(dir, 0o700)
}

func sweep(top string) {
	entries, err := os.ReadDir(top)
	if err != nil {
		return
	}
	for _, e := range entries {
		pid, start, ok := strings.Cut(e.Name(), "-")
		n, err := strconv.Atoi(pid)
		if !ok || err != nil || (Process{PID: n, Start: start}).Alive() {
			continue
		}
		_ = os.RemoveAll(filepath.Join(top, e.Name()))
	}
}

// Lock takes a lock on a file, for as long as the file is open.
func Lock(ctx context.Context, path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600) //nolint:gosec // a file of ours
	if err != nil {
		return nil, err
	}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return f, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			_ = f.Close()
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			_ = f.Close()
			return nil, fmt.Errorf("wait for %s: %w", path, context.Cause(ctx))
		}
	}
}
