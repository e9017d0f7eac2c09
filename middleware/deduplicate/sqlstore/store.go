// Package sqlstore is a store for middleware.Deduplicate in a table of a SQL database:
// Postgres, SQLite, and others that know INSERT ... ON CONFLICT and parameters such as $1.
package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"regexp"
	"time"

	"github.com/waybill-go/waybill/middleware"
	"github.com/waybill-go/waybill/pubsub"
	"github.com/waybill-go/waybill/pubsub/driver"
)

// Store is a middleware.DeduplicationStore. Its methods may be called concurrently, and
// several processes may share a table: times are of their clocks, which should not be
// further apart than a lease is long.
type Store struct {
	db                                      *sql.DB
	create, claim, look, mark, free, expire string
}

var _ middleware.DeduplicationStore = (*Store)(nil)

// DefaultTable is the name of the table unless another is given.
const DefaultTable = "waybill_handled"

var tableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)?$`)

// New makes a store in a table, which Create makes if it is not there. An empty name is
// DefaultTable; it may name a schema too. It fails with CodeInvalid without a database, and on
// a name that is not made of letters, digits and underscores. The database stays the
// caller's.
func New(db *sql.DB, table string) (*Store, error) {
	if table == "" {
		table = DefaultTable
	}
	if db == nil {
		return nil, driver.Errorf(pubsub.CodeInvalid, "sqlstore: database is nil")
	}
	if !tableName.MatchString(table) {
		return nil, driver.Errorf(pubsub.CodeInvalid, "sqlstore: table name %q: use letters, digits and underscores", table)
	}
	return &Store{
		db: db,
		// An owner is empty where the message was handled. Times are Unix milliseconds.
		create: "CREATE TABLE IF NOT EXISTS " + table + " (id TEXT PRIMARY KEY, owner TEXT NOT NULL, expires BIGINT NOT NULL)",
		claim: "INSERT INTO " + table + " AS held (id, owner, expires) VALUES ($1, $2, $3) ON CONFLICT (id) DO UPDATE" +
			" SET owner = excluded.owner, expires = excluded.expires WHERE held.expires <= $4 OR held.owner = excluded.owner AND held.owner <> ''",
		look: "SELECT owner FROM " + table + " WHERE id = $1",
		mark: "INSERT INTO " + table + " (id, owner, expires) VALUES ($1, '', $2) ON CONFLICT (id) DO UPDATE" +
			" SET owner = '', expires = excluded.expires",
		free:   "DELETE FROM " + table + " WHERE id = $1 AND owner = $2 AND owner <> ''",
		expire: "DELETE FROM " + table + " WHERE expires <= $1",
	}, nil
}

// Create makes the table if it is not there.
func (s *Store) Create(ctx context.Context) error {
	_, err := s.db.ExecContext(ctx, s.create)
	return fail("create the table", err)
}

// Claim takes id for owner, or extends its claim, unless it was marked or another has it.
func (s *Store) Claim(ctx context.Context, id, owner string, lease time.Duration) (middleware.Claim, error) {
	now := time.Now()
	n, err := s.exec(ctx, s.claim, id, owner, now.Add(lease).UnixMilli(), now.UnixMilli())
	if err != nil {
		return 0, fail("claim", err)
	}
	if n > 0 {
		return middleware.ClaimTaken, nil
	}
	var has string
	switch err := s.db.QueryRowContext(ctx, s.look, id).Scan(&has); {
	case errors.Is(err, sql.ErrNoRows): // released just now
		return middleware.ClaimBusy, nil
	case err != nil:
		return 0, fail("look up a claim", err)
	case has == "":
		return middleware.ClaimHandled, nil
	default:
		return middleware.ClaimBusy, nil
	}
}

// Mark remembers that id was handled.
func (s *Store) Mark(ctx context.Context, id string, keep time.Duration) error {
	_, err := s.exec(ctx, s.mark, id, time.Now().Add(keep).UnixMilli())
	return fail("mark", err)
}

// Release gives up owner's claim to id.
func (s *Store) Release(ctx context.Context, id, owner string) error {
	_, err := s.exec(ctx, s.free, id, owner)
	return fail("release", err)
}

// Expire deletes what has expired, and returns how much that was. Rows that have expired are
// as good as none, and are used again; call it now and then, or the table only grows.
func (s *Store) Expire(ctx context.Context) (int64, error) {
	n, err := s.exec(ctx, s.expire, time.Now().UnixMilli())
	return n, fail("expire", err)
}

func (s *Store) exec(ctx context.Context, query string, args ...any) (int64, error) {
	result, err := s.db.ExecContext(ctx, query, args...)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

func fail(doing string, err error) error {
	if err == nil {
		return nil
	}
	return driver.Wrap(pubsub.CodeUnavailable, "sqlstore: "+doing, err)
}
