package main

import (
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/waybill-go/waybill/pubsub/config"
	"github.com/waybill-go/waybill/pubsub/driver"
)

func newPlan(s *settings) *cobra.Command {
	return &cobra.Command{
		Use:   "plan",
		Short: "Show what apply would make on the broker, and how each promise is kept there",
		Long: `Plan connects, looks and changes nothing. For each topic and subscription of the file it shows what
opening it would do:
  declare  make what is missing
  keep     nothing: it is there as it should be
  trust    nothing: the file says topology: assume
  fail     fail, for the reason given
and how each promise that it needs is kept: native (by the broker), engine (by this library, in the
process of the service), both, or not offered. It exits with 3 if something would fail.`,
		Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := s.load()
			if err != nil {
				return err
			}
			plan, err := cfg.Plan(cmd.Context())
			if err != nil {
				return err
			}
			return errors.Join(summary(plan), s.print(cmd.OutOrStdout(), plan, plan.String()))
		},
	}
}

func newApply(s *settings) *cobra.Command {
	return &cobra.Command{
		Use:   "apply",
		Short: "Make what is missing on the broker, unless something in the plan fails",
		Long: `Apply makes a plan, and if nothing in it fails, makes the topics, groups and queues that are missing.
It prints the plan that it carried out. If something fails it changes nothing, and exits with 3.`,
		Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := s.load()
			if err != nil {
				return err
			}
			noteMemory(cmd, cfg)
			plan, err := cfg.Apply(cmd.Context())
			if plan == nil {
				return err
			}
			if fails := summary(plan); fails != nil {
				err = fails
			}
			text := plan.String()
			if err == nil {
				text += "\n" + applied(plan)
			}
			return errors.Join(err, s.print(cmd.OutOrStdout(), plan, text))
		},
	}
}

// summary says that a plan fails, whose text says why.
func summary(plan *config.Plan) error {
	err := plan.Err()
	if err == nil {
		return nil
	}
	n := 0
	for _, b := range plan.Brokers {
		for _, i := range slices.Concat(b.Topics, b.Subscriptions) {
			n += len(i.Problems)
		}
	}
	what := "problems: this plan cannot be carried out, and nothing was changed"
	if n == 1 {
		what = "problem: this plan cannot be carried out, and nothing was changed"
	}
	return driver.Errorf(driver.CodeOf(err), "%s: %d %s", plan.File, n, what)
}

// applied counts what was made, and what was there.
func applied(plan *config.Plan) string {
	made, there := 0, 0
	for _, b := range plan.Brokers {
		for _, i := range slices.Concat(b.Topics, b.Subscriptions) {
			if i.Action == config.Declare {
				made++
			} else {
				there++
			}
		}
	}
	return fmt.Sprintf("applied: %d declared, %d left as they are\n", made, there)
}
