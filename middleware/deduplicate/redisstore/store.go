// Package redisstore is a store for middleware.Deduplicate in Redis, or what speaks its
// protocol, with github.com/redis/go-redis.
package redisstore

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/waybill-go/waybill/middleware"
	"github.com/waybill-go/waybill/pubsub"
	"github.com/waybill-go/waybill/pubsub/driver"
)

// Store is a middleware.DeduplicationStore. Its methods may be called concurrently, and
// several processes may share a prefix. A failover of Redis may forget what was written last:
// a duplicate of that is handled again.
type Store struct {
	client redis.UniversalClient
	prefix string
}

var _ middleware.DeduplicationStore = (*Store)(nil)

// DefaultPrefix begins the keys unless another prefix is given.
const DefaultPrefix = "waybill:handled:"

// What a key holds: of a message that was handled, or the owner of a claim behind a prefix.
const (
	handled = "handled"
	claimed = "claim:"
)

// claim takes a key, or extends the claim of the one who asks, for so many milliseconds; else it
// tells what the key holds.
var claim = redis.NewScript(`
local has = redis.call("GET", KEYS[1])
if has and has ~= ARGV[1] then
	return has
end
redis.call("SET", KEYS[1], ARGV[1], "PX", ARGV[2])
return ARGV[1]`)

// release deletes a claim of the one who asks.
var release = redis.NewScript(`
if redis.call("GET", KEYS[1]) == ARGV[1] then
	return redis.call("DEL", KEYS[1])
end
return 0`)

// New makes a store whose keys begin with a prefix; an empty one is DefaultPrefix. It fails
// with CodeInvalid without a client, which stays the caller's.
func New(client redis.UniversalClient, prefix string) (*Store, error) {
	if client == nil {
		return nil, driver.Errorf(pubsub.CodeInvalid, "redisstore: client is nil")
	}
	if prefix == "" {
		prefix = DefaultPrefix
	}
	return &Store{client, prefix}, nil
}

// Claim takes id for owner, or extends its claim, unless it was marked or another has it.
func (s *Store) Claim(ctx context.Context, id, owner string, lease time.Duration) (middleware.Claim, error) {
	own := claimed + owner
	has, err := claim.Run(ctx, s.client, []string{s.prefix + id}, own, max(lease.Milliseconds(), 1)).Text()
	switch {
	case err != nil:
		return 0, fail("claim", err)
	case has == own:
		return middleware.ClaimTaken, nil
	case has == handled:
		return middleware.ClaimHandled, nil
	default:
		return middleware.ClaimBusy, nil
	}
}

// Mark remembers that id was handled.
func (s *Store) Mark(ctx context.Context, id string, keep time.Duration) error {
	return fail("mark", s.client.Set(ctx, s.prefix+id, handled, keep).Err())
}

// Release gives up owner's claim to id.
func (s *Store) Release(ctx context.Context, id, owner string) error {
	return fail("release", release.Run(ctx, s.client, []string{s.prefix + id}, claimed+owner).Err())
}

func fail(doing string, err error) error {
	if err == nil {
		return nil
	}
	return driver.Wrap(pubsub.CodeUnavailable, "redisstore: "+doing, err)
}
