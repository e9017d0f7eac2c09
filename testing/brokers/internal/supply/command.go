package supply

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// run runs a program to its end. What it prints is shown only if it fails.
func (i *Installer) run(ctx context.Context, env []string, name string, args ...string) error {
	i.say("  %s %s", name, strings.Join(args, " "))
	cmd := exec.CommandContext(ctx, name, args...) //nolint:gosec // what the installer says that it runs
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		const most = 4000
		out = bytes.TrimSpace(out)
		return fmt.Errorf("%s: %w\n%s", name, err, out[max(0, len(out)-most):])
	}
	return nil
}

// need makes sure that a program is there, by a package of the system.
func (i *Installer) need(ctx context.Context, program, pkg string) error {
	if _, err := exec.LookPath(program); err == nil {
		return nil
	}
	return i.apt(ctx, pkg)
}

// policy is asked by Debian's packages whether they may start what they install.
const policy = "/usr/sbin/policy-rc.d"

// apt installs packages, and keeps them from starting anything: Debian's broker would
// listen on every interface.
func (i *Installer) apt(ctx context.Context, packages ...string) (err error) {
	if _, err := exec.LookPath("apt-get"); err != nil {
		return fmt.Errorf("this system has no apt-get: install %s by its own means", strings.Join(packages, " "))
	}
	if os.Getuid() != 0 {
		return fmt.Errorf("only root may install packages: run apt-get install %s as root", strings.Join(packages, " "))
	}
	if !i.updated {
		if err := i.run(ctx, nil, "apt-get", "update"); err != nil {
			return err
		}
		i.updated = true
	}
	// A policy that is there is the owner's, and stays.
	f, made := os.OpenFile(policy, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755) //nolint:gosec // it is run
	if made == nil {
		defer func() { err = errors.Join(err, os.Remove(policy)) }()
		_, err := f.WriteString("#!/bin/sh\nexit 101\n")
		if err := errors.Join(err, f.Close()); err != nil {
			return err
		}
	} else if !errors.Is(made, os.ErrExist) {
		return made
	}
	// Somebody else's apt may be at work.
	args := append([]string{"-o", "DPkg::Lock::Timeout=600", "install", "-y", "--no-install-recommends"}, packages...)
	return i.run(ctx, []string{"DEBIAN_FRONTEND=noninteractive"}, "apt-get", args...)
}
