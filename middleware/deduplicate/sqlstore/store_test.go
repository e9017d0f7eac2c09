package sqlstore_test

import (
	"context"
	"database/sql"
	"fmt"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	_ "modernc.org/sqlite"

	"github.com/waybill-go/waybill/middleware"
	"github.com/waybill-go/waybill/middleware/deduplicate/sqlstore"
	"github.com/waybill-go/waybill/pubsub"
	"github.com/waybill-go/waybill/testing/deduplicationtest"
)

func open(t *testing.T, table string) (*sqlstore.Store, *sql.DB) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(t.TempDir(), "test.db")+"?_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)")
	if err != nil {
		t.Fatal(err)
	}
	store, err := sqlstore.New(db, table)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second finds it there
		if err := store.Create(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	return store, db
}

func TestSQLite(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store, db := open(t, "")
		defer func() { _ = db.Close() }()
		deduplicationtest.Run(t, store, time.Sleep)
		deduplicationtest.RunEnded(t, store)
	})
}

func TestExpire(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store, db := open(t, "main.handled")
		defer func() { _ = db.Close() }()
		for i := range 5 {
			if err := store.Mark(t.Context(), fmt.Sprint(i), time.Duration(i+1)*time.Minute); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(3 * time.Minute)
		if n, err := store.Expire(t.Context()); n != 3 || err != nil {
			t.Errorf("%d have expired, %v", n, err)
		}
		if claim, err := store.Claim(t.Context(), "4", "o", time.Minute); claim != middleware.ClaimHandled || err != nil {
			t.Errorf("one that has not: %s, %v", claim, err)
		}
	})
}

func TestBadInput(t *testing.T) {
	t.Parallel()
	_, db := open(t, "")
	for _, table := range []string{"a b", "a;DROP TABLE b", "a.b.c", "1", `"a"`} {
		if _, err := sqlstore.New(db, table); pubsub.CodeOf(err) != pubsub.CodeInvalid {
			t.Errorf("table %q: %v", table, err)
		}
	}
	if _, err := sqlstore.New(nil, ""); pubsub.CodeOf(err) != pubsub.CodeInvalid {
		t.Errorf("no database: %v", err)
	}
	missing, err := sqlstore.New(db, "missing")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := missing.Claim(t.Context(), "a", "o", time.Minute); pubsub.CodeOf(err) != pubsub.CodeUnavailable {
		t.Errorf("no table: %v", err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if err := missing.Create(t.Context()); pubsub.CodeOf(err) != pubsub.CodeUnavailable {
		t.Errorf("closed: %v", err)
	}
	if _, err := missing.Expire(t.Context()); pubsub.CodeOf(err) != pubsub.CodeUnavailable {
		t.Errorf("closed: %v", err)
	}
}

func Example() {
	ctx := context.Background()
	db, _ := sql.Open("sqlite", ":memory:")
	defer func() { _ = db.Close() }()
	db.SetMaxOpenConns(1) // each connection has a memory of its own
	store, _ := sqlstore.New(db, "")
	if err := store.Create(ctx); err != nil {
		fmt.Println(err)
		return
	}
	handler := middleware.Deduplicate(store, middleware.DeduplicatePolicy{})(func(_ context.Context, d *pubsub.Delivery) error {
		fmt.Println(d.ID)
		return nil
	})
	for _, id := range []string{"order-7", "order-7", "order-8"} {
		_ = handler(ctx, &pubsub.Delivery{Topic: "orders", Group: "billing", Message: pubsub.Message{ID: id}})
	}
	// Output:
	// order-7
	// order-8
}
