package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/waybill-go/waybill/pubsub/deadletter"
)

func newDLQShow(s *settings) *cobra.Command {
	p := &picking{}
	most := 1
	cmd := &cobra.Command{
		Use:   "show TOPIC [ID]",
		Short: "Show a dead letter: why, when, how often, headers and body",
		Long: `Show prints the first dead letter that the flags pick, or the first --count of them, and leaves them where they are.
It exits with 1 if there is none. With -o json, each letter is a line that "waybill pub --format json" takes.`,
		Args:              args(cobra.RangeArgs(1, 2)),
		ValidArgsFunction: s.completeDead(),
		RunE: func(cmd *cobra.Command, list []string) error {
			if len(list) == 2 {
				p.filter.ID = list[1]
			}
			if most < 1 {
				return usage(fmt.Errorf("count %d: want 1 or more", most))
			}
			if err := p.check(); err != nil {
				return err
			}
			_, client, err := p.client(cmd, s, list[0])
			if err != nil {
				return err
			}
			shown := 0
			var broken error
			err = client.Letters(cmd.Context(), list[0], p.filter, p.browse, func(l deadletter.Letter) bool {
				if s.output == "json" {
					broken = json.NewEncoder(cmd.OutOrStdout()).Encode(letterOf(&l))
				} else {
					broken = show(cmd.OutOrStdout(), &l, shown > 0)
				}
				shown++
				return broken == nil && shown < most
			})
			if shown == 0 && err == nil {
				err = errors.New("no dead letter like that was seen")
			}
			return closed(cmd.Context(), client, errors.Join(missing(err), broken))
		},
	}
	cmd.Flags().IntVar(&most, "count", 1, "how many to show, at most")
	p.flags(cmd.Flags())
	p.looks(cmd.Flags())
	return cmd
}

// count is a number, or nothing.
func count(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprint(n)
}

// show prints a letter for people.
func show(out io.Writer, l *deadletter.Letter, another bool) error {
	var b strings.Builder
	line := func(name, value string) {
		if value != "" {
			_, _ = fmt.Fprintf(&b, "%-10s %s\n", name, value) // a Builder does not fail
		}
	}
	if another {
		b.WriteByte('\n')
	}
	line("id", l.ID)
	line("key", l.Key)
	line("source", l.Source)
	line("group", l.Group)
	line("reason", l.Reason)
	if died := known(l.Died); died != nil {
		line("died", died.Format(time.RFC3339)+", "+ago(died)+" ago")
	}
	line("attempts", count(l.Attempts))
	line("redriven", count(l.Redriven))
	for _, name := range sorted(l.Headers) {
		if !strings.HasPrefix(name, "dead-letter-") {
			line("header", name+": "+l.Headers[name])
		}
	}
	if utf8.Valid(l.Body) {
		line("body", string(l.Body))
	} else {
		line("body", fmt.Sprintf("%d bytes that are no text: %q", len(l.Body), l.Body))
	}
	_, err := io.WriteString(out, b.String())
	return err
}
