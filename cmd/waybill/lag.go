package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/waybill-go/waybill/pubsub"
	"github.com/waybill-go/waybill/pubsub/config"
)

// lag is what waits for a subscription.
type lag struct {
	Subscription string `json:"subscription"`
	Ready        *int64 `json:"ready,omitempty"`
	Unsettled    *int64 `json:"unsettled,omitempty"` // none where the broker does not tell
	Error        string `json:"error,omitempty"`
	known        bool   // it is there, whether or not the broker tells more
}

func newLag(s *settings) *cobra.Command {
	return &cobra.Command{
		Use:   "lag [SUBSCRIPTION...]",
		Short: "Show how many messages wait for subscriptions; without arguments, for all of the file",
		Long: `Lag asks the broker. READY are messages that wait to be received, UNSETTLED those that were received and are
not yet acknowledged; "-" is what the broker does not tell. Broadcasts are left out: nothing waits for
them on the broker.`,
		ValidArgsFunction: s.completeFrom((*config.Config).Subscriptions),
		RunE: func(cmd *cobra.Command, names []string) error {
			cfg, client, err := s.client(cmd, func(cfg *config.Config) error { return cfg.CheckSubscriptions(names...) })
			if err != nil {
				return err
			}
			if len(names) == 0 {
				names = slices.DeleteFunc(cfg.Subscriptions(), cfg.Broadcast)
			}
			list := make([]lag, 0, len(names))
			var failed error
			for _, name := range names {
				l := lag{Subscription: name}
				if b, err := client.Backlog(cmd.Context(), name); err != nil {
					l.Error, l.known = err.Error(), pubsub.CodeOf(err) == pubsub.CodeUnsupported
					failed = errors.Join(failed, missing(err))
				} else if l.Ready, l.known = &b.Ready, true; b.Unsettled >= 0 {
					l.Unsettled = &b.Unsettled
				}
				list = append(list, l)
			}
			return closed(cmd.Context(), client, errors.Join(failed, s.print(cmd.OutOrStdout(), list, table(list))))
		},
	}
}

// table has no row of what could not be asked: its error says so.
func table(list []lag) string {
	list = slices.DeleteFunc(slices.Clone(list), func(l lag) bool { return !l.known })
	if len(list) == 0 {
		return ""
	}
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "SUBSCRIPTION\tREADY\tUNSETTLED") // a Builder does not fail
	for _, l := range list {
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\n", l.Subscription, number(l.Ready), number(l.Unsettled))
	}
	_ = w.Flush()
	return b.String()
}

func number(n *int64) string {
	if n == nil {
		return "-"
	}
	return fmt.Sprint(*n)
}
