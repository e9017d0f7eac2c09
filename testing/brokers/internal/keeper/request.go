package keeper

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"path/filepath"
)

// What a keeper can be asked to do.
const (
	Stop     = "stop" // and wait until it has ended by itself
	Start    = "start"
	Kill     = "kill"
	Pause    = "pause"
	Continue = "continue"
	Admin    = "admin"
	End      = "end" // the whole instance
)

// A Request is sent to a keeper; one a connection.
type Request struct {
	Do    string
	Node  int
	Args  []string
	Input string
}

// An Answer is what came of it.
type Answer struct {
	Output string
	Error  string
}

const socket = "keeper.sock"

// Ask sends a request to the keeper of an instance and waits for the answer.
func (r *Record) Ask(ctx context.Context, q Request) (string, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "unix", filepath.Join(r.Dir, socket))
	if err != nil {
		return "", fmt.Errorf("the %s that ran in %s is gone: %w", r.Kind, r.Dir, err)
	}
	// A context that ends takes the connection with it, and the keeper then gives up.
	stop := context.AfterFunc(ctx, func() { _ = c.Close() })
	defer func() { stop(); _ = c.Close() }()
	if err := json.NewEncoder(c).Encode(q); err != nil {
		return "", fmt.Errorf("%s %s: %w", q.Do, r.Kind, err)
	}
	var a Answer
	if err := json.NewDecoder(c).Decode(&a); err != nil {
		return "", fmt.Errorf("%s %s: %w", q.Do, r.Kind, errors.Join(err, context.Cause(ctx)))
	}
	if a.Error != "" {
		return a.Output, fmt.Errorf("%s %s: %s", q.Do, r.Kind, a.Error)
	}
	return a.Output, nil
}
