package avro

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/twmb/avro"
	"github.com/twmb/franz-go/pkg/sr"

	"github.com/waybill-go/waybill/codec"
)

// failed is for how long a failure is remembered: a registry in trouble is asked once a
// second, not once a message.
const failed = time.Second

// answer is what the registry says to one question, which is asked once at a time.
type answer[V any] struct {
	mu    sync.Mutex
	asked bool
	value V
	err   error
	until time.Time // of err
}

func (a *answer[V]) get(timeout time.Duration, ask func(context.Context) (V, error)) (V, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.asked && (a.err == nil || time.Now().Before(a.until)) {
		return a.value, a.err
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	a.value, a.err = ask(ctx)
	a.asked, a.until = true, time.Now().Add(failed)
	return a.value, a.err
}

// identify asks for the ID of the codec's schema.
func (c *of[T]) identify(ctx context.Context) (int, error) {
	schema := sr.Schema{Schema: c.Schema, Type: sr.TypeAvro}
	if c.Register {
		id, err := c.Registry.RegisterSchema(ctx, c.Subject, schema, -1, -1)
		return id, refused(err, "register the schema of "+c.Subject, http.StatusConflict, http.StatusUnprocessableEntity)
	}
	found, err := c.Registry.LookupSchema(ctx, c.Subject, schema)
	return found.ID, refused(err, "find the schema of "+c.Subject+", which is not registered by this codec (Options.Register)",
		http.StatusNotFound, http.StatusUnprocessableEntity)
}

// resolve asks for the schema with an ID, and resolves it into the codec's.
func (c *of[T]) resolve(ctx context.Context, id int) (*avro.Schema, error) {
	written, err := c.Registry.SchemaByID(ctx, id)
	if err := refused(err, fmt.Sprintf("get schema %d", id), http.StatusNotFound); err != nil {
		return nil, err
	}
	if written.Type != sr.TypeAvro {
		return nil, fmt.Errorf("avro: schema %d is for %s, not for Avro", id, written.Type)
	}
	writer, err := c.parse(ctx, &avro.SchemaCache{}, written, map[sr.SchemaReference]bool{})
	if errors.Is(err, codec.ErrUnavailable) {
		return nil, err
	}
	if err == nil {
		writer, err = avro.Resolve(writer, c.schema)
	}
	if err != nil {
		return nil, fmt.Errorf("avro: schema %d: %w", id, err)
	}
	return writer, nil
}

// parse parses a schema after those that it refers to.
func (c *of[T]) parse(ctx context.Context, cache *avro.SchemaCache, s sr.Schema, seen map[sr.SchemaReference]bool) (*avro.Schema, error) {
	for _, r := range s.References {
		if seen[r] {
			continue
		}
		seen[r] = true
		referred, err := c.Registry.SchemaByVersion(ctx, r.Subject, r.Version)
		if err := refused(err, fmt.Sprintf("get version %d of %s", r.Version, r.Subject), http.StatusNotFound); err != nil {
			return nil, err
		}
		if _, err := c.parse(ctx, cache, referred.Schema, seen); err != nil {
			return nil, err
		}
	}
	return cache.Parse(s.Schema)
}
