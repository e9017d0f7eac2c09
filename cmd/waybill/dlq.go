package main

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/waybill-go/waybill/pubsub"
	"github.com/waybill-go/waybill/pubsub/config"
	"github.com/waybill-go/waybill/pubsub/deadletter"
)

func newDLQ(s *settings) *cobra.Command {
	cmd := &cobra.Command{
		Use:                        "dlq",
		SuggestionsMinimumDistance: 2,

		Short: "List and show dead letters, and send them back to where they failed",
		Args: func(cmd *cobra.Command, list []string) error {
			if len(list) == 0 {
				return nil
			}
			return unknownCommand(cmd, list[0])
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newDLQList(s), newDLQShow(s), newDLQRedrive(s))
	return cmd
}

// picking are the flags that say which dead letters.
type picking struct {
	filter deadletter.Filter
	browse pubsub.BrowsePolicy
}

// flags adds those of a filter.
func (p *picking) flags(f *pflag.FlagSet) {
	f.StringVar(&p.filter.Source, "source", "", "only those of this topic, by its name on the broker")
	f.StringVar(&p.filter.Group, "group", "", "only those of this group")
	f.StringVar(&p.filter.Key, "key", "", "only those with this key")
	f.StringVar(&p.filter.ID, "id", "", "only the one with this ID")
	f.StringVar(&p.filter.Reason, "reason", "", "only those whose reason contains this text")
	f.StringToStringVar(&p.filter.Headers, "header", nil, "name=value: only those with this header")
	f.DurationVar(&p.filter.MinAge, "min-age", 0, "only those that failed at least so long ago, such as 30m")
	f.DurationVar(&p.filter.MaxAge, "max-age", 0, "only those that failed at most so long ago")
}

// looks adds those of looking on.
func (p *picking) looks(f *pflag.FlagSet) {
	f.IntVar(&p.browse.Messages, "messages", 1000, "how many letters of a topic to look at, at most")
	f.DurationVar(&p.browse.Quiet, "quiet", 5*time.Second, "stop when no letter has come for so long")
}

func (p *picking) check() error {
	switch {
	case p.filter.MinAge < 0 || p.filter.MaxAge < 0:
		return usage(errors.New("an age is negative"))
	case p.filter.MaxAge > 0 && p.filter.MinAge > p.filter.MaxAge:
		return usage(fmt.Errorf("min-age %v is above max-age %v: nothing is so old", p.filter.MinAge, p.filter.MaxAge))
	case p.browse.Messages < 0 || p.browse.Quiet < 0:
		return usage(errors.New("messages and quiet must not be negative"))
	}
	return nil
}

// letter is a dead letter as JSON, which pub reads.
type letter struct {
	record
	Topic     string     `json:"topic"`
	Source    string     `json:"source,omitempty"`
	Group     string     `json:"group,omitempty"`
	Reason    string     `json:"reason,omitempty"`
	Died      *time.Time `json:"died,omitempty"`
	Attempts  int        `json:"attempts,omitempty"`
	Redriven  int        `json:"redriven,omitempty"`
	Published *time.Time `json:"published,omitempty"` // to the dead-letter topic
}

func letterOf(l *deadletter.Letter) letter {
	return letter{
		record: recordOf(&l.Message), Topic: l.Topic, Source: l.Source, Group: l.Group, Reason: l.Reason,
		Died: known(l.Died), Attempts: l.Attempts, Redriven: l.Redriven, Published: known(l.PublishTime),
	}
}

// known is a time, or nil if it is not known.
func known(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

// ago says how old something is, in the two largest units.
func ago(t *time.Time) string {
	if t == nil {
		return "-"
	}
	age := time.Since(*t)
	const day = 24 * time.Hour
	switch {
	case age >= day:
		return fmt.Sprintf("%dd%dh", age/day, age%day/time.Hour)
	case age >= time.Hour:
		return fmt.Sprintf("%dh%dm", age/time.Hour, age%time.Hour/time.Minute)
	case age >= time.Minute:
		return fmt.Sprintf("%dm%ds", age/time.Minute, age%time.Minute/time.Second)
	default:
		return fmt.Sprintf("%ds", max(age, 0)/time.Second)
	}
}

// or is a text, or a dash.
func or(text string) string {
	if text == "" {
		return "-"
	}
	return text
}

// sorted lists a map's names in order.
func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// client opens the file's brokers to work with the dead letters of topics, declaring nothing.
func (p *picking) client(cmd *cobra.Command, s *settings, topics ...string) (*config.Config, *config.Client, error) {
	cfg, err := s.load()
	if err != nil {
		return nil, nil, err
	}
	if err := cfg.CheckDeadLetters(topics...); err != nil {
		return nil, nil, err
	}
	if err := cfg.CheckOrigin(p.filter.Source, p.filter.Group); err != nil {
		_, _ = fmt.Fprintf(cmd.ErrOrStderr(), "note: %v\n", err) // nobody is left to tell
	}
	noteMemory(cmd, cfg)
	cfg = cfg.DeclareNothing()
	client, err := cfg.Client(cmd.Context())
	return cfg, client, err
}

// missing says what to do about a topic that is not on the broker.
func missing(err error) error {
	if pubsub.CodeOf(err) != pubsub.CodeNotFound {
		return err
	}
	return fmt.Errorf("%w; nothing was declared: waybill apply makes what the file names", err)
}

// completeDead offers the dead-letter topics of the file to a shell.
func (s *settings) completeDead() cobra.CompletionFunc {
	return s.completeFrom((*config.Config).DeadLetters)
}
