package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/waybill-go/waybill/drivers/memory"
	"github.com/waybill-go/waybill/pubsub/config"
	"github.com/waybill-go/waybill/pubsub/driver"
)

// settings are the flags that all commands have.
type settings struct {
	file   string
	output string
}

func newRoot() *cobra.Command {
	s := &settings{}
	root := &cobra.Command{
		Use:   "waybill",
		Short: "Plan, declare, publish, receive and inspect, on any broker",
		Long: `Waybill reads the configuration file that services read (-f, by default waybill.yaml) and works
with the topics and subscriptions that the file names, on whatever broker they are.`,
		SilenceUsage:               true,
		SilenceErrors:              true,
		SuggestionsMinimumDistance: 2,
		Args: func(cmd *cobra.Command, list []string) error {
			if len(list) == 0 {
				return nil
			}
			return unknownCommand(cmd, list[0])
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		PersistentPreRunE: func(*cobra.Command, []string) error {
			if s.output != "text" && s.output != "json" {
				return usage(fmt.Errorf("output %q is not one of text, json", s.output))
			}
			return nil
		},
	}
	root.PersistentFlags().StringVarP(&s.file, "file", "f", "waybill.yaml", "the configuration file")
	root.PersistentFlags().StringVarP(&s.output, "output", "o", "text", "text or json")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usage(fmt.Errorf("%w; %s --help lists the flags", err, cmd.CommandPath()))
	})
	root.AddCommand(newPlan(s), newApply(s), newPub(s), newSub(s), newLag(s), newDLQ(s), newVersion(s))
	return root
}

// unknownCommand names the nearest one.
func unknownCommand(cmd *cobra.Command, name string) error {
	text := fmt.Sprintf("unknown command %q", name)
	if near := cmd.SuggestionsFor(name); len(near) > 0 {
		text += fmt.Sprintf("; did you mean %q?", near[0])
	}
	return usage(fmt.Errorf("%s; %s --help lists them", text, cmd.CommandPath()))
}

// usage makes an error the caller's fault.
func usage(err error) error { return driver.Wrap(driver.CodeInvalid, "", err) }

// args makes it the caller's fault if there are not as many arguments as cobra wants.
func args(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, list []string) error {
		if check(cmd, list) == nil {
			return nil
		}
		return usage(fmt.Errorf("wrong number of arguments; usage: %s", cmd.UseLine()))
	}
}

// load reads the file; one that is not there is the caller's fault.
func (s *settings) load() (*config.Config, error) {
	cfg, err := config.Load(s.file)
	if driver.CodeOf(err) == driver.CodeNotFound {
		return nil, usage(fmt.Errorf("%w; name the configuration file with -f", err))
	}
	return cfg, err
}

// client opens the file's brokers, once check has found nothing wrong with what was asked.
func (s *settings) client(cmd *cobra.Command, check func(*config.Config) error) (*config.Config, *config.Client, error) {
	cfg, err := s.load()
	if err != nil {
		return nil, nil, err
	}
	if err := check(cfg); err != nil {
		return nil, nil, err
	}
	noteMemory(cmd, cfg)
	client, err := cfg.Client(cmd.Context())
	return cfg, client, err
}

// noteMemory says that a broker in memory ends with the command, unless something else in the
// process has it open.
func noteMemory(cmd *cobra.Command, cfg *config.Config) {
	for _, place := range cfg.Places() {
		name, ok := strings.CutPrefix(place, "memory://")
		if _, open := memory.Named(name); ok && !open {
			_, _ = fmt.Fprintf(cmd.ErrOrStderr(), // nobody is left to tell
				"note: %s is a broker of this command alone: it is empty, and gone when the command ends\n", place)
		}
	}
}

// closed closes a client when a command is done, also after Ctrl-C.
func closed(ctx context.Context, client *config.Client, err error) error {
	return errors.Join(err, client.Close(context.WithoutCancel(ctx)))
}

// print writes a value as JSON, or its text.
func (s *settings) print(w io.Writer, v any, text string) error {
	if s.output == "text" {
		_, err := io.WriteString(w, text)
		return err
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// completeFrom offers names of the file to a shell.
func (s *settings) completeFrom(names func(*config.Config) []string) cobra.CompletionFunc {
	return func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		cfg, err := config.Load(s.file)
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		return names(cfg), cobra.ShellCompDirectiveDefault
	}
}
