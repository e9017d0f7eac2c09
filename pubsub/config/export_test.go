package config

import (
	"context"

	"github.com/waybill-go/waybill/pubsub"
)

// Unchecked is Client without the check of promises, so that the engine's own is seen.
func Unchecked(ctx context.Context, c *Config) (*Client, error) {
	brokers, err := c.connect(ctx, nil)
	return &Client{config: c, brokers: brokers, dead: map[string]*pubsub.Topic{}}, err
}
