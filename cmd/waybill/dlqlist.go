package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/waybill-go/waybill/pubsub"
	"github.com/waybill-go/waybill/pubsub/config"
	"github.com/waybill-go/waybill/pubsub/deadletter"
)

// deadTopic is what a dead-letter topic holds.
type deadTopic struct {
	Topic   string       `json:"topic"`
	Waiting *int64       `json:"waiting,omitempty"` // none where the broker does not tell
	Seen    int          `json:"seen"`
	Letters []deadGroup  `json:"letters"`
	Error   string       `json:"error,omitempty"`
	index   map[kind]int // of Letters
}

// kind is what letters are counted by.
type kind struct{ source, group, reason string }

// deadGroup counts letters of one kind.
type deadGroup struct {
	Source string     `json:"source,omitempty"`
	Group  string     `json:"group,omitempty"`
	Reason string     `json:"reason,omitempty"`
	Count  int        `json:"count"`
	Oldest *time.Time `json:"oldest,omitempty"`
	Newest *time.Time `json:"newest,omitempty"`
}

func newDLQList(s *settings) *cobra.Command {
	p := &picking{}
	cmd := &cobra.Command{
		Use:   "list [TOPIC...]",
		Short: "Count dead letters by where and why they failed; without arguments, in all dead-letter topics of the file",
		Long: `List reads up to --messages letters of each topic, counts them, and gives them back. Other readers of the topic
do not get them meanwhile. WAITING is how many the broker says there are. If these are more than COUNT
adds up to, the rest is beyond --messages, is with another reader, or waits behind
an earlier letter of its key.`,
		ValidArgsFunction: s.completeDead(),
		RunE: func(cmd *cobra.Command, names []string) error {
			if err := p.check(); err != nil {
				return err
			}
			cfg, client, err := p.client(cmd, s, names...)
			if err != nil {
				return err
			}
			if len(names) == 0 {
				names = cfg.DeadLetters()
			}
			list := make([]*deadTopic, len(names))
			var failed error
			for i, name := range names {
				var err error
				list[i], err = p.count(cmd.Context(), client, name, 0)
				failed = errors.Join(failed, missing(err))
			}
			return closed(cmd.Context(), client, errors.Join(failed, s.print(cmd.OutOrStdout(), list, deadTable(list))))
		},
	}
	p.flags(cmd.Flags())
	p.looks(cmd.Flags())
	return cmd
}

// count counts the letters that the filter picks, or the first so many.
func (p *picking) count(ctx context.Context, client *config.Client, name string, most int) (*deadTopic, error) {
	t := &deadTopic{Topic: name, Letters: []deadGroup{}, index: map[kind]int{}}
	b, err := client.Waiting(ctx, name)
	switch {
	case err == nil:
		waiting := b.Ready + max(b.Unsettled, 0)
		t.Waiting = &waiting
	case pubsub.CodeOf(err) != pubsub.CodeUnsupported:
		t.Error = err.Error()
		return t, err
	}
	err = client.Letters(ctx, name, p.filter, p.browse, func(l deadletter.Letter) bool {
		t.add(&l)
		return most == 0 || t.Seen < most
	})
	if err != nil {
		t.Error = err.Error()
	}
	slices.SortStableFunc(t.Letters, func(a, b deadGroup) int {
		return cmp.Or(cmp.Compare(a.Source, b.Source), cmp.Compare(a.Group, b.Group), cmp.Compare(b.Count, a.Count), cmp.Compare(a.Reason, b.Reason))
	})
	return t, err
}

func (t *deadTopic) add(l *deadletter.Letter) {
	t.Seen++
	k := kind{l.Source, l.Group, l.Reason}
	i, ok := t.index[k]
	if !ok {
		i = len(t.Letters)
		t.index[k] = i
		t.Letters = append(t.Letters, deadGroup{Source: l.Source, Group: l.Group, Reason: l.Reason})
	}
	g := &t.Letters[i]
	g.Count++
	died := known(l.Died)
	if died == nil {
		return
	}
	if g.Oldest == nil || died.Before(*g.Oldest) {
		g.Oldest = died
	}
	if g.Newest == nil || died.After(*g.Newest) {
		g.Newest = died
	}
}

// shortReason is how much of a reason a table shows.
const shortReason = 60

// deadTable has no row of a topic that could not be looked at: its error says so.
func deadTable(list []*deadTopic) string {
	list = slices.DeleteFunc(slices.Clone(list), func(t *deadTopic) bool { return t.Error != "" && t.Seen == 0 })
	if len(list) == 0 {
		return ""
	}
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "TOPIC\tWAITING\tSOURCE\tGROUP\tCOUNT\tOLDEST\tNEWEST\tREASON") // a Builder does not fail
	for _, t := range list {
		if len(t.Letters) == 0 {
			_, _ = fmt.Fprintf(w, "%s\t%s\t-\t-\t0\t-\t-\t%s\n", t.Topic, number(t.Waiting), "-")
		}
		for _, g := range t.Letters {
			reason := []rune(strings.Join(strings.Fields(g.Reason), " "))
			if len(reason) > shortReason {
				reason = append(reason[:shortReason-1], '…')
			}
			_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%s\t%s\t%s\n",
				t.Topic, number(t.Waiting), or(g.Source), or(g.Group), g.Count, ago(g.Oldest), ago(g.Newest), or(string(reason)))
		}
	}
	_ = w.Flush()
	return b.String()
}
