// Migration moves a service from one broker to another while it runs, by configuration
// alone: it reads both, writes to the new one, and leaves the old one when that is empty.
// Scans of parcels are written all the while, and the program counts that none is lost.
//
//	OLD_BROKER=rabbitmq://localhost NEW_BROKER=kafka://localhost go run ./examples/migration
//
// Each change is a new file for a running service; replicas that are restarted one after
// the other with the new file do the same. Between stages 2 and 4, messages with the same
// key may be on both brokers, and overtake each other. Where their order matters, declare
// the new broker's groups with "waybill apply" instead of reading it in stages 2 and 3, and
// read it when the old one is empty.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	_ "github.com/waybill-go/waybill/drivers/gcppubsub"
	_ "github.com/waybill-go/waybill/drivers/kafka"
	_ "github.com/waybill-go/waybill/drivers/memory"
	_ "github.com/waybill-go/waybill/drivers/rabbitmq"
	_ "github.com/waybill-go/waybill/drivers/snssqs"
)

func main() {
	folder := flag.String("config", "examples/migration", "the `folder` of the configuration files")
	scans := flag.Int("scans", 100, "how many parcels to scan in each stage, at least")
	flag.Parse()
	if err := run(context.Background(), os.Stdout, *folder, *scans); err != nil {
		fmt.Fprintln(os.Stderr, "migration:", err)
		os.Exit(1)
	}
}

// run moves the service, and returns an error unless each scan was tracked.
func run(ctx context.Context, w io.Writer, folder string, scans int) error {
	ctx, cancel := signal.NotifyContext(ctx, os.Interrupt)
	defer cancel()
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	r := newRegister()
	s := newService(r.track, fail)
	if err := s.change(ctx, filepath.Join(folder, "1-old.yaml")); err != nil {
		return err
	}
	group, moving := errgroup.WithContext(ctx)
	writing, stop := context.WithCancel(moving)
	group.Go(func() error { return write(ctx, writing, s, r) })
	group.Go(func() error {
		defer stop()
		return move(moving, w, s, r, folder, scans)
	})
	err := group.Wait()
	if err == nil {
		err = r.tracked.wait(ctx, r.written.now())
	}
	return errors.Join(err, s.stop(), r.report(w))
}

// write scans a parcel every few milliseconds until writing ends, whatever happens to the
// service.
func write(ctx, writing context.Context, s *service, r *register) error {
	next := time.NewTicker(5 * time.Millisecond)
	defer next.Stop()
	for n := 1; ; n++ {
		select {
		case <-next.C:
		case <-writing.Done():
			return nil
		}
		if err := s.publish(ctx, Scan{Number: n}); err != nil {
			return err
		}
		r.written.rise(n)
	}
}

// move goes from stage to stage, and leaves the last one with its share of scans.
func move(ctx context.Context, w io.Writer, s *service, r *register, folder string, scans int) error {
	change := func(stage string) error {
		if err := r.written.wait(ctx, r.written.now()+scans); err != nil {
			return err
		}
		if err := s.change(ctx, filepath.Join(folder, stage)); err != nil {
			return err
		}
		fmt.Fprintf(w, "  scan %4d   %s\n", r.written.now(), stage)
		return nil
	}
	if err := change("2-read-both.yaml"); err != nil {
		return err
	}
	if err := change("3-write-new.yaml"); err != nil {
		return err
	}
	// From here on the service writes to the new broker, and all that was written before
	// must be read. From outside, "waybill lag" tells that.
	if err := r.tracked.wait(ctx, r.written.now()); err != nil {
		return err
	}
	fmt.Fprintf(w, "              the old broker is empty: %d scans were read there\n", r.from("old"))
	if err := change("4-new.yaml"); err != nil {
		return err
	}
	return r.written.wait(ctx, r.written.now()+scans)
}
