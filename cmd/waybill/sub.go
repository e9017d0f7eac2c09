package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/spf13/cobra"

	"github.com/waybill-go/waybill/pubsub"
	"github.com/waybill-go/waybill/pubsub/config"
)

// receiving is one run of sub.
type receiving struct {
	count int
	json  bool
	out   io.Writer
	stop  context.CancelFunc

	mu      sync.Mutex
	printed int
	err     error
}

// received is a delivery as a line of JSON, which pub reads.
type received struct {
	record
	Topic   string `json:"topic"`
	Group   string `json:"group,omitempty"`
	Attempt int    `json:"attempt"`
}

func newSub(s *settings) *cobra.Command {
	r := &receiving{}
	cmd := &cobra.Command{
		Use:   "sub SUBSCRIPTION",
		Short: "Receive messages, print and acknowledge them",
		Long: `Sub takes messages away: it joins the subscription's group, and what it prints is acknowledged, so that
no service of the group gets it. To watch without taking, give the file a subscription with
broadcast: true, or a group of its own.
It goes on until it is interrupted, or has printed --count messages. Messages that it received beyond
that go back, and may count as an attempt. A message that cannot be printed goes back too.
With -o json, each line is an object that "waybill pub --format json" takes.`,
		Args:              args(cobra.ExactArgs(1)),
		ValidArgsFunction: s.completeFrom((*config.Config).Subscriptions),
		RunE: func(cmd *cobra.Command, list []string) error {
			if r.count < 0 {
				return usage(fmt.Errorf("count %d is negative", r.count))
			}
			_, client, err := s.client(cmd, func(cfg *config.Config) error { return cfg.CheckSubscriptions(list[0]) })
			if err != nil {
				return err
			}
			subscription, err := client.Subscriber(cmd.Context(), list[0])
			if err != nil {
				return closed(cmd.Context(), client, err)
			}
			ctx, cancel := context.WithCancel(cmd.Context())
			defer cancel()
			r.out, r.stop, r.json = cmd.OutOrStdout(), cancel, s.output == "json"
			err = client.Serve(ctx, pubsub.Handle(subscription, r.handle))
			r.mu.Lock()
			defer r.mu.Unlock()
			return errors.Join(r.err, err)
		},
	}
	cmd.Flags().IntVar(&r.count, "count", 0, "how many messages to print; 0: no limit")
	return cmd
}

var errEnough = errors.New("enough was printed")

func (r *receiving) handle(_ context.Context, d *pubsub.Delivery) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err != nil || r.count > 0 && r.printed == r.count {
		return errEnough
	}
	if err := r.print(d); err != nil {
		// A pipe that was closed takes nothing more.
		r.err = err
		r.stop()
		return err
	}
	if r.printed++; r.printed == r.count {
		r.stop()
	}
	return nil
}

func (r *receiving) print(d *pubsub.Delivery) error {
	if !r.json {
		_, err := r.out.Write(append(d.Body, '\n'))
		return err
	}
	return json.NewEncoder(r.out).Encode(received{recordOf(&d.Message), d.Topic, d.Group, d.Attempt})
}
