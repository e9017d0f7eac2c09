package brokers

import (
	"context"
	"fmt"
	"time"

	"github.com/waybill-go/waybill/testing/brokers/internal/keeper"
)

// faultTimeout bounds a fault whose context has no deadline.
const faultTimeout = 90 * time.Second

// Stop asks nodes, all if none is named, to end in good order, and waits until they have. One that has
// not within half a minute is killed, such as a Kafka that waits for controllers that were stopped before
// it. Nodes are counted from 0.
func (b *Broker) Stop(ctx context.Context, nodes ...int) error {
	return b.each(ctx, keeper.Stop, nodes)
}

// Start starts nodes that were stopped or killed, with what they stored and on the same ports, and waits
// until they serve.
func (b *Broker) Start(ctx context.Context, nodes ...int) error {
	return b.each(ctx, keeper.Start, nodes)
}

// Kill ends nodes as a power cut does.
func (b *Broker) Kill(ctx context.Context, nodes ...int) error {
	return b.each(ctx, keeper.Kill, nodes)
}

// Pause freezes nodes. Connections stay open and nothing answers.
func (b *Broker) Pause(ctx context.Context, nodes ...int) error {
	return b.each(ctx, keeper.Pause, nodes)
}

// Continue ends a Pause.
func (b *Broker) Continue(ctx context.Context, nodes ...int) error {
	return b.each(ctx, keeper.Continue, nodes)
}

// CloseConnections makes RabbitMQ close every client's connection.
func (b *Broker) CloseConnections(ctx context.Context) error {
	return b.alone(ctx, "close_all_connections", "the test wants it")
}

// Alarm raises RabbitMQ's memory alarm, or clears it: while it is raised, connections that publish
// are blocked.
func (b *Broker) Alarm(ctx context.Context, raised bool) error {
	mark := "0.6"
	if raised {
		mark = "0.0000001"
	}
	return b.alone(ctx, "set_vm_memory_high_watermark", mark)
}

// alone runs the admin tool on a private instance.
func (b *Broker) alone(ctx context.Context, args ...string) error {
	if !b.private {
		return fmt.Errorf("%s %s: %w", b.kind, args[0], errShared)
	}
	ctx, cancel := context.WithTimeout(ctx, faultTimeout)
	defer cancel()
	_, err := b.Admin(ctx, args...)
	return err
}

// each asks for something on several nodes side by side: a node of a cluster may wait for the
// others while it starts.
func (b *Broker) each(ctx context.Context, do string, nodes []int) error {
	if !b.private {
		return fmt.Errorf("%s %s: %w", do, b.kind, errShared)
	}
	if len(nodes) == 0 {
		for n := range b.Addresses {
			nodes = append(nodes, n)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, faultTimeout)
	defer cancel()
	answers := make(chan error, len(nodes))
	for _, n := range nodes {
		go func() {
			_, err := b.record.Ask(ctx, keeper.Request{Do: do, Node: n})
			answers <- err
		}()
	}
	var first error
	for range nodes {
		if err := <-answers; err != nil && first == nil {
			first = err
		}
	}
	return first
}
