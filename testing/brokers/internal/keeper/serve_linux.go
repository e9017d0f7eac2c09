package keeper

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"syscall"
)

// serve answers requests, each on a connection of its own.
func (k *keeper) serve() {
	for {
		c, err := k.listener.Accept()
		if err != nil {
			return
		}
		go k.answer(c)
	}
}

func (k *keeper) answer(c net.Conn) {
	defer func() { _ = c.Close() }()
	var q Request
	if json.NewDecoder(c).Decode(&q) != nil {
		return
	}
	// Nothing more is sent: a read ends when the asker gives up.
	ctx, cancel := context.WithCancelCause(context.Background())
	go func() {
		_, _ = c.Read(make([]byte, 1))
		cancel(errors.New("nobody waits for it any more"))
	}()
	var a Answer
	var err error
	if a.Output, err = k.do(ctx, q); err != nil {
		a.Error = err.Error()
	}
	if q.Do == End {
		// The answer comes when everything is gone.
		killChildren()
	}
	_ = json.NewEncoder(c).Encode(a)
	cancel(nil)
	if q.Do == End {
		k.end(errEnd)
	}
}

func (k *keeper) do(ctx context.Context, q Request) (string, error) {
	if q.Do == End {
		return "", nil
	}
	if q.Node < 0 || q.Node >= len(k.nodes) {
		return "", fmt.Errorf("there is no node %d: there are %d, from 0", q.Node, len(k.nodes))
	}
	n := k.nodes[q.Node]
	switch q.Do {
	case Stop:
		return "", n.stop(ctx)
	case Start:
		return "", n.start(ctx)
	case Kill:
		return "", n.kill(ctx)
	case Pause:
		return "", n.signal(ctx, syscall.SIGSTOP)
	case Continue:
		return "", n.signal(ctx, syscall.SIGCONT)
	case Admin:
		if k.plan.Admin == nil {
			return "", errors.New("this broker has no tool for operators here")
		}
		c, err := k.plan.Admin(q.Node, q.Args)
		if err != nil {
			return "", err
		}
		return k.tool(ctx, c, q.Input)
	}
	return "", fmt.Errorf("a keeper cannot %q", q.Do)
}
