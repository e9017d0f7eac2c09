// Brokers starts real brokers for a command, fetches those that are missing, and lists those
// that are here.
//
//	brokers run rabbitmq@4.3 kafka -- go test ./...
//	brokers install rabbitmq kafka
//	brokers list
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/waybill-go/waybill/testing/brokers/internal/keeper"
	"github.com/waybill-go/waybill/testing/brokers/internal/recipe"
	"github.com/waybill-go/waybill/testing/brokers/internal/supply"
)

const usage = `usage:
  brokers run NAME... -- COMMAND    start brokers, run a command with their addresses in its environment, stop them;
                                    tests in it share what they start themselves, so names may be left out
  brokers install NAME...           fetch what is missing
  brokers list                      show what is here, and how to get the rest
names: rabbitmq, kafka, gcppubsub, snssqs; with a version, rabbitmq@4.3
`

// errUsage has no more to say than the usage.
var errUsage = errors.New("say what to do")

func main() {
	keeper.Main()
	code, err := act(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "brokers:", err)
		if errors.Is(err, errUsage) {
			fmt.Fprint(os.Stderr, usage)
			code = 2
		}
	}
	os.Exit(code)
}

// act does what the arguments say and returns the exit code.
func act(args []string) (int, error) {
	if len(args) == 0 {
		return 2, errUsage
	}
	switch args[0] {
	case "run":
		return run(args[1:])
	case "install":
		return install(args[1:])
	case "list":
		list()
		return 0, nil
	case "help", "-h", "-help", "--help":
		fmt.Print(usage)
		return 0, nil
	}
	return 2, fmt.Errorf("%w: there is no %q", errUsage, args[0])
}

func install(args []string) (int, error) {
	wants, err := parse(args)
	if err != nil {
		return 2, err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	installer := supply.Installer{Out: os.Stdout}
	var failed error
	for _, want := range wants {
		failed = errors.Join(failed, installer.Install(ctx, want))
	}
	if failed != nil {
		return 1, failed
	}
	return 0, nil
}

func list() {
	for _, kind := range recipe.Kinds {
		here := recipe.Installed(kind)
		for _, i := range here {
			fmt.Printf("%-10s %-8s %s\n", kind, i.Version, i.Path)
		}
		if len(here) == 0 {
			fmt.Printf("%-10s %-8s %s\n", kind, "-", recipe.Want{Kind: kind}.Hint())
		}
		if kind == recipe.RabbitMQ {
			for _, version := range []string{"3.10", "4.3"} {
				want := recipe.Want{Kind: kind, Version: version}
				if _, err := recipe.Find(want); err != nil {
					fmt.Printf("%-10s %-8s %s\n", kind, version, want.Hint())
				}
			}
		}
	}
}

func parse(args []string) ([]recipe.Want, error) {
	if len(args) == 0 {
		return nil, fmt.Errorf("%w: no broker is named", errUsage)
	}
	var wants []recipe.Want
	for _, arg := range args {
		want, err := recipe.Parse(arg)
		if err != nil {
			return nil, err
		}
		wants = append(wants, want)
	}
	return wants, nil
}
