package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/waybill-go/waybill/testing/brokers/internal/keeper"
	"github.com/waybill-go/waybill/testing/brokers/internal/recipe"
)

// run starts the brokers, if any are named, runs the command, ends the brokers, and returns the command's
// exit code.
func run(args []string) (int, error) {
	at := slices.Index(args, "--")
	if at < 0 || at == len(args)-1 {
		return 2, fmt.Errorf("%w: write -- and a command after the brokers", errUsage)
	}
	var wants []recipe.Want
	if at > 0 {
		var err error
		if wants, err = parse(args[:at]); err != nil {
			return 2, err
		}
	}
	self, err := keeper.Find(os.Getpid())
	if err != nil && len(wants) > 0 {
		return 1, fmt.Errorf("brokers are started on Linux only: %w", err)
	}
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go followGo(ctx, signals)

	records, err := start(ctx, cancel, self, wants, signals)
	defer end(records)
	if err != nil {
		return 1, err
	}
	skipped, err := os.CreateTemp("", "waybill-skipped-*")
	if err != nil {
		return 1, err
	}
	_ = skipped.Close()
	defer func() { _ = os.Remove(skipped.Name()) }()
	env := append(os.Environ(), "WAYBILL_BROKERS_OWNER="+self.String(), "WAYBILL_BROKERS_SKIPPED="+skipped.Name())
	env = append(env, addresses(wants, records)...)
	code, err := command(args[at+1:], env, signals)
	report(skipped.Name())
	return code, err
}

// start starts all brokers side by side. A signal gives up.
func start(ctx context.Context, cancel func(), self keeper.Process, wants []recipe.Want, signals chan os.Signal) ([]*keeper.Record, error) {
	records, errs := make([]*keeper.Record, len(wants)), make([]error, len(wants))
	found := make([]recipe.Installation, len(wants))
	for n, want := range wants {
		var err error
		if found[n], err = recipe.Find(want); err != nil {
			return nil, err
		}
	}
	var all sync.WaitGroup
	for n := range wants {
		all.Go(func() { records[n], errs[n] = keeper.Share(ctx, self, found[n], 1) })
	}
	done := make(chan struct{})
	go func() { all.Wait(); close(done) }()
	select {
	case <-done:
		return records, errors.Join(errs...)
	case s := <-signals:
		cancel()
		<-done
		return records, fmt.Errorf("given up: %v", s)
	}
}

// addresses are the variables for the brokers: each by its version, and the first of
// each kind by its name alone.
func addresses(wants []recipe.Want, records []*keeper.Record) []string {
	values := map[string]string{}
	var env []string
	set := func(w recipe.Want, url string) {
		if name := w.Environment(); values[name] == "" {
			values[name] = url
			env = append(env, name+"="+url)
			fmt.Fprintf(os.Stderr, "brokers: %s=%s\n", name, url)
		}
	}
	for n, want := range wants {
		set(recipe.Want{Kind: want.Kind}, records[n].URL)
		if want.Version != "" {
			set(want, records[n].URL)
		}
		// A test that asks for 3.10 finds it as well where only "rabbitmq" was said.
		if parts := strings.SplitN(records[n].Version, ".", 3); len(parts) > 1 {
			set(recipe.Want{Kind: want.Kind, Version: parts[0] + "." + parts[1]}, records[n].URL)
		}
	}
	return env
}

// command runs the command and passes signals on to it.
func command(args, env []string, signals chan os.Signal) (int, error) {
	// The kernel kills the command with the thread that started it: this one stays.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd := exec.CommandContext(context.Background(), args[0], args[1:]...) //nolint:gosec // the user's command
	cmd.Env, cmd.Stdin, cmd.Stdout, cmd.Stderr = env, os.Stdin, os.Stdout, os.Stderr
	tie(cmd)
	if err := cmd.Start(); err != nil {
		return 127, err
	}
	ended := make(chan struct{})
	go func() {
		for {
			select {
			case s := <-signals:
				_ = cmd.Process.Signal(s)
			case <-ended:
				return
			}
		}
	}()
	err := cmd.Wait()
	close(ended)
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return 0, err
	}
	if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal()), nil
	}
	return exit.ExitCode(), nil
}

// end ends the brokers that were started.
func end(records []*keeper.Record) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	var all sync.WaitGroup
	for _, r := range records {
		if r != nil {
			all.Go(func() { _, _ = r.Ask(ctx, keeper.Request{Do: keeper.End}) })
		}
	}
	all.Wait()
	for _, r := range records {
		if r != nil {
			_ = os.RemoveAll(filepath.Dir(r.Dir)) //nolint:gosec // the folder of this owner
		}
	}
}

// report names again what was skipped.
func report(path string) {
	text, err := os.ReadFile(path) //nolint:gosec // a file of ours
	if err == nil && len(text) > 0 {
		fmt.Fprintf(os.Stderr, "brokers: skipped for want of a broker:\n%s", text)
	}
}

// followGo ends this process with a `go run` that runs it: that one passes no signals on.
func followGo(ctx context.Context, signals chan<- os.Signal) {
	parent := os.Getppid()
	exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", parent))
	if err != nil || !strings.HasSuffix(exe, "/go") {
		return
	}
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		if os.Getppid() != parent {
			select {
			case signals <- syscall.SIGTERM:
			case <-ctx.Done():
			}
			return
		}
	}
}
