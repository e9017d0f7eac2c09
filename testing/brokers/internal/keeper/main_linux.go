package keeper

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/waybill-go/waybill/testing/brokers/internal/recipe"
)

// variable tells a program that it is started as a keeper, and of which folder.
const variable = "WAYBILL_BROKERS_KEEPER"

// The files that a keeper is started with.
const (
	readyFile = 3 // a pipe for the outcome
	lockFile  = 4 // whoever waits for it waits until the instance runs or has failed
)

// starting is how long an instance has.
const starting = 2 * time.Minute

// outcome is what a keeper says when it runs, or why it does not.
type outcome struct {
	Record *Record
	Error  string
}

// Main makes this process a keeper and ends it, if it was started as one.
func Main() {
	dir := os.Getenv(variable)
	if dir == "" {
		return
	}
	_ = os.Unsetenv(variable)
	syscall.CloseOnExec(readyFile)
	syscall.CloseOnExec(lockFile)
	if err := run(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

var errEnd = errors.New("the instance is ended")

func run(dir string) error {
	ready, lock := os.NewFile(readyFile, "ready"), os.NewFile(lockFile, "lock")
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)

	k := &keeper{dir: dir, end: end, spawn: newSpawner()}
	if err := readJSON(filepath.Join(dir, specFile), &k.spec); err != nil {
		return err
	}
	// Last of all: children that lost their parents are ours, and end with us.
	defer k.clear()
	adopt()
	go k.watch(ctx)

	record, err := k.start(ctx)
	var out outcome
	if err != nil {
		out.Error = err.Error()
	} else {
		out.Record = record
		err = writeJSON(k.spec.Record, record)
	}
	_ = json.NewEncoder(ready).Encode(out)
	_ = ready.Close()
	_ = lock.Close()
	if err == nil {
		<-ctx.Done()
	}
	return err
}

const specFile = "spec.json"

// A keeper is one instance.
type keeper struct {
	dir      string
	spec     Spec
	plan     *recipe.Plan
	spawn    *spawner
	end      context.CancelCauseFunc
	listener net.Listener
	nodes    []*server
	ports    []*os.File // locks
}

// watch ends the instance with its owner.
func (k *keeper) watch(ctx context.Context) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for k.spec.Owner.Alive() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
	k.end(errors.New("the owner is gone"))
}

// start brings the instance up.
func (k *keeper) start(ctx context.Context) (*Record, error) {
	ctx, cancel := context.WithTimeout(ctx, starting)
	defer cancel()
	i := k.spec.Installation
	var err error
	if k.plan, err = recipe.New(i, recipe.Setting{Dir: k.dir, Nodes: k.spec.Nodes, Port: k.port}); err != nil {
		return nil, err
	}
	for _, b := range k.plan.Binds {
		to := filepath.Join(i.Path, b.To)
		if err := os.MkdirAll(to, 0o755); err != nil { //nolint:gosec // a folder of a root file system
			return nil, err
		}
		if err := syscall.Mount(b.From, to, "", syscall.MS_BIND|syscall.MS_REC, ""); err != nil {
			return nil, fmt.Errorf("mount %s at %s: %w", b.From, to, err)
		}
	}
	for n, h := range k.plan.Helpers {
		if err := newServer(h, filepath.Join(k.dir, fmt.Sprintf("helper%d.out", n+1)), k.spawn).start(ctx); err != nil {
			return nil, fmt.Errorf("%s: %w", h.Path, err)
		}
	}
	if err := each(len(k.plan.Prepare), func(n int) error {
		_, err := k.tool(ctx, k.plan.Prepare[n], "")
		return err
	}); err != nil {
		return nil, err
	}
	if err := k.startNodes(ctx); err != nil {
		return nil, err
	}
	if k.listener, err = new(net.ListenConfig).Listen(ctx, "unix", filepath.Join(k.dir, socket)); err != nil {
		return nil, err
	}
	go k.serve()
	self, err := Find(os.Getpid())
	return &Record{
		Kind: i.Kind, Version: i.Version, URL: k.plan.URL, Addresses: k.plan.Addresses, TLS: k.plan.TLS, SASL: k.plan.SASL, Dir: k.dir, Keeper: self,
	}, err
}

// startNodes starts all that need not wait for others at once.
func (k *keeper) startNodes(ctx context.Context) error {
	up := make([]chan struct{}, len(k.plan.Nodes))
	for n, node := range k.plan.Nodes {
		k.nodes = append(k.nodes, newServer(node, filepath.Join(k.dir, fmt.Sprintf("n%d.out", n+1)), k.spawn))
		up[n] = make(chan struct{})
	}
	return each(len(k.nodes), func(n int) error {
		for _, first := range k.plan.Nodes[n].After {
			select {
			case <-up[first]:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		if err := k.nodes[n].start(ctx); err != nil {
			return fmt.Errorf("node %d: %w", n, err)
		}
		close(up[n])
		return nil
	})
}

// tool runs a command to its end.
func (k *keeper) tool(ctx context.Context, c recipe.Command, input string) (string, error) {
	cmd := command(ctx, c)
	var out buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.Stdin = newInput(input)
	cmd.WaitDelay = time.Second
	if err := k.spawn.start(cmd); err != nil {
		return "", err
	}
	if err := cmd.Wait(); err != nil {
		return out.String(), fmt.Errorf("%s: %w: %s", filepath.Base(c.Path), err, out.end())
	}
	return out.String(), nil
}

// clear kills whatever is left, and takes away the instance's folder.
func (k *keeper) clear() {
	if k.listener != nil {
		_ = k.listener.Close()
	}
	killChildren()
	_ = os.RemoveAll(k.dir)
	if !k.spec.Owner.Alive() {
		_ = os.RemoveAll(filepath.Dir(k.dir)) // nobody comes for the rest
	}
}

// each runs a number of things side by side.
func each(n int, do func(int) error) error {
	errs := make([]error, n)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { errs[i] = do(i) })
	}
	all.Wait()
	return errors.Join(errs...)
}
