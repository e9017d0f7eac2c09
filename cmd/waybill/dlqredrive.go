package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/waybill-go/waybill/pubsub"
	"github.com/waybill-go/waybill/pubsub/config"
	"github.com/waybill-go/waybill/pubsub/deadletter"
)

// redriving is one run of dlq redrive.
type redriving struct {
	picking
	limit int
	rate  float64
	to    string
	dry   bool
}

func newDLQRedrive(s *settings) *cobra.Command {
	r := &redriving{}
	cmd := &cobra.Command{
		Use:   "redrive TOPIC",
		Short: "Send dead letters back to where they failed",
		Long: `Redrive publishes dead letters to the topics where they failed, and removes each from the dead-letter topic once
the broker has confirmed that. Their attempts begin at 1 again. Only the group where a letter failed handles
it; other groups of the topic skip it.
When it is interrupted, it finishes what it has begun. When it is killed, nothing is lost, but some letters may be
sent back twice; run it again for the rest. Letters that fail again while it runs stay.
Where the dead-letter topic is ordered, a letter that stays holds back the later ones of its key.
The exit code is 1 if a letter could not be sent back, or it was interrupted.`,
		Args:              args(cobra.ExactArgs(1)),
		ValidArgsFunction: s.completeDead(),
		RunE: func(cmd *cobra.Command, list []string) error {
			if err := r.check(); err != nil {
				return err
			}
			if r.to == list[0] {
				return usage(fmt.Errorf("--to %s is where the letters are; leave it out, and they go where they failed", r.to))
			}
			_, client, err := r.client(cmd, s, list[0])
			if err != nil {
				return err
			}
			if r.dry {
				return closed(cmd.Context(), client, r.preview(cmd, s, client, list[0]))
			}
			return closed(cmd.Context(), client, r.do(cmd, s, client, list[0]))
		},
	}
	f := cmd.Flags()
	f.IntVar(&r.limit, "limit", 0, "how many to send back, at most; 0: all")
	f.Float64Var(&r.rate, "rate", 0, "how many to send back in a second; 0: as fast as it goes")
	f.StringVar(&r.to, "to", "", "send them to this topic of the file, and not to where they failed")
	f.BoolVar(&r.dry, "dry-run", false, "show what would be sent back, and change nothing")
	f.DurationVar(&r.browse.Quiet, "quiet", 0, "stop when no letter has come for so long; 0: as long as the broker needs")
	r.flags(f)
	_ = cmd.RegisterFlagCompletionFunc("to", s.completeFrom((*config.Config).Topics)) // the flag is there
	return cmd
}

func (r *redriving) check() error {
	if r.limit < 0 || r.rate < 0 {
		return usage(errors.New("limit and rate must not be negative"))
	}
	return r.picking.check()
}

// mostPreviewed is how many letters a dry run looks at.
const mostPreviewed = 10_000

// preview counts what would be brought back.
func (r *redriving) preview(cmd *cobra.Command, s *settings, client *config.Client, topic string) error {
	r.browse.Messages = mostPreviewed
	if r.to != "" {
		if _, err := client.Publisher(cmd.Context(), r.to); err != nil {
			return missing(err)
		}
	}
	t, err := r.count(cmd.Context(), client, topic, r.limit)
	if err != nil {
		return missing(err)
	}
	text := deadTable([]*deadTopic{t}) + fmt.Sprintf("%d would be brought back of those seen; nothing was taken\n", t.Seen)
	return s.print(cmd.OutOrStdout(), t, text)
}

func (r *redriving) do(cmd *cobra.Command, s *settings, client *config.Client, topic string) error {
	ctx := cmd.Context()
	policy := deadletter.Policy{Filter: r.filter, Limit: r.limit, Rate: r.rate, Quiet: r.browse.Quiet}
	if r.to != "" {
		to, err := client.Publisher(ctx, r.to)
		if err != nil {
			return missing(err)
		}
		policy.Publisher = func(context.Context, string, string) (pubsub.Publisher, error) { return to, nil }
	}
	total := int64(r.limit)
	if b, err := client.Waiting(ctx, topic); err == nil && total == 0 {
		total = b.Ready + max(b.Unsettled, 0)
	}
	bar := newProgress(cmd.ErrOrStderr(), "redriving", total)
	policy.Progress = func(report deadletter.Report) { bar.set(int64(report.Redriven)) }
	policy.Failed = func(l deadletter.Letter, err error) {
		_, _ = fmt.Fprintf(bar, "%s: %v\n", name(&l), err) // nobody is left to tell
	}
	report, err := client.Redrive(ctx, topic, policy)
	bar.end()
	if err != nil && report == (deadletter.Report{}) {
		return missing(err) // it did not begin
	}
	if report.Failed > 0 && err == nil {
		err = errors.New("not every letter could be brought back")
	}
	return errors.Join(err, s.print(cmd.OutOrStdout(), report, reportText(&report)))
}

// name says which letter.
func name(l *deadletter.Letter) string {
	switch {
	case l.ID != "":
		return "letter " + l.ID
	case l.Key != "":
		return "a letter of key " + l.Key
	default:
		return "a letter that died " + l.Died.UTC().Format(time.RFC3339)
	}
}

func reportText(r *deadletter.Report) string {
	var b strings.Builder
	_, _ = fmt.Fprintf(&b, "%d redriven", r.Redriven) // a Builder does not fail
	for _, part := range []struct {
		n    int
		text string
	}{{r.Failed, "failed"}, {r.Again, "died again"}, {r.Skipped, "not picked"}, {r.Behind, "behind those that stay"}} {
		if part.n > 0 {
			_, _ = fmt.Fprintf(&b, ", %d %s", part.n, part.text)
		}
	}
	_, _ = io.WriteString(&b, "\n")
	if r.Full {
		_, _ = io.WriteString(&b, "There may be more behind those that stay: pick fewer to stay, or redrive them too.\n")
	}
	return b.String()
}
