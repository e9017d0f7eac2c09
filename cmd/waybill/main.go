// Command waybill is for operators: it plans and declares what a configuration file
// names, publishes and receives, and tells what waits.
//
// Exit codes: 0 done; 1 it failed, in whole or in part; 2 the arguments or the file
// are wrong; 3 the broker cannot keep what the file asks, or has it otherwise.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/waybill-go/waybill/pubsub"
)

func main() {
	// A closed pipe is an error like any other, so that what could not be written goes back.
	signal.Ignore(syscall.SIGPIPE)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run is the whole command, and returns its exit code.
func run(ctx context.Context, args []string, in io.Reader, out, errs io.Writer) int {
	root := newRoot()
	root.SetArgs(args)
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(errs)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	_, _ = fmt.Fprintln(errs, err) // nobody is left to tell
	switch pubsub.CodeOf(err) {
	case pubsub.CodeInvalid:
		return 2
	case pubsub.CodeUnsupported, pubsub.CodeConflict:
		return 3
	default:
		return 1
	}
}
