package avro_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/twmb/franz-go/pkg/sr"
	"github.com/twmb/franz-go/pkg/sr/srfake"

	"github.com/waybill-go/waybill/codec"
	"github.com/waybill-go/waybill/codec/avro"
	"github.com/waybill-go/waybill/pubsub"
)

type order struct {
	Item  string `avro:"item"`
	Count int    `avro:"count"`
}

// later is an order of the next version.
type later struct {
	Item string `avro:"item"`
	Gift bool   `avro:"gift,default=false"`
}

func registry(t *testing.T) (*srfake.Registry, *sr.Client) {
	t.Helper()
	fake := srfake.New()
	t.Cleanup(fake.Close)
	client, err := sr.NewClient(sr.URLs(fake.URL()), sr.LogLevel(sr.LogLevelNone))
	if err != nil {
		t.Fatal(err)
	}
	return fake, client
}

func open[T any](t *testing.T, o avro.Options) codec.Codec[T] {
	t.Helper()
	c, err := avro.New[T](o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestWireFormatAndQuestions(t *testing.T) {
	t.Parallel()
	fake, client := registry(t)
	var asked atomic.Int32
	fake.Intercept(func(http.ResponseWriter, *http.Request) bool {
		asked.Add(1)
		return false
	})
	c := open[order](t, avro.Options{Registry: client, Subject: "orders-value", Register: true})
	var wait sync.WaitGroup
	for range 8 {
		wait.Go(func() {
			for i := range 10 {
				want := order{"apple", i}
				p, err := c.Encode(want)
				if err != nil || p.ContentType != avro.ContentType {
					t.Errorf("%+v, %v", p, err)
					return
				}
				if got, err := c.Decode(p); got != want || err != nil {
					t.Errorf("%+v, %v", got, err)
				}
			}
		})
	}
	wait.Wait()
	if n := asked.Load(); n != 2 { // its ID, and what that is
		t.Errorf("asked %d times", n)
	}
	p, err := c.Encode(order{"apple", 3})
	if want := []byte("\x00\x00\x00\x00\x01\x0aapple\x06"); !bytes.Equal(p.Body, want) || err != nil {
		t.Errorf("body %q, %v; want %q", p.Body, err, want)
	}
	reader := open[order](t, avro.Options{Registry: client})
	if got, err := reader.Decode(p); got != (order{"apple", 3}) || err != nil {
		t.Errorf("without a subject: %+v, %v", got, err)
	}
	if _, err := reader.Encode(order{}); err == nil {
		t.Error("encoded without a subject")
	}
	found := open[order](t, avro.Options{Registry: client, Subject: "orders-value"})
	if _, err := found.Encode(order{}); err != nil {
		t.Errorf("what is registered: %v", err)
	}
}

func TestSchemasChange(t *testing.T) {
	t.Parallel()
	_, client := registry(t)
	old := open[order](t, avro.Options{Registry: client, Subject: "s", Register: true, Schema: `{"type":"record","name":"order","fields":[{"name":"item","type":"string"},{"name":"count","type":"int"}]}`})
	p, err := old.Encode(order{"apple", 3})
	if err != nil {
		t.Fatal(err)
	}
	next := `{"type":"record","name":"order","fields":[{"name":"item","type":"string"},{"name":"gift","type":"boolean","default":true}]}`
	got, err := open[later](t, avro.Options{Registry: client, Schema: next}).Decode(p)
	if got != (later{"apple", true}) || err != nil {
		t.Errorf("the next version reads %+v, %v", got, err)
	}
	other := `{"type":"record","name":"order","fields":[{"name":"item","type":"string"},{"name":"gift","type":"boolean"}]}`
	if _, err := open[later](t, avro.Options{Registry: client, Schema: other}).Decode(p); err == nil || errors.Is(err, codec.ErrUnavailable) {
		t.Errorf("one that cannot be resolved: %v", err)
	}
}

func TestReferences(t *testing.T) {
	t.Parallel()
	_, client := registry(t)
	ctx := t.Context()
	if _, err := client.CreateSchema(ctx, "item", sr.Schema{Schema: `{"type":"record","name":"Item","fields":[{"name":"name","type":"string"}]}`}); err != nil {
		t.Fatal(err)
	}
	written, err := client.CreateSchema(ctx, "order", sr.Schema{
		Schema:     `{"type":"record","name":"Order","fields":[{"name":"item","type":"Item"},{"name":"other","type":"Item"}]}`,
		References: []sr.SchemaReference{{Name: "Item", Subject: "item", Version: 1}},
	})
	if err != nil {
		t.Fatal(err)
	}
	type item struct {
		Name string `avro:"name"`
	}
	type order struct {
		Item  item `avro:"item"`
		Other item `avro:"other"`
	}
	c := open[order](t, avro.Options{Registry: client, Schema: `{"type":"record","name":"Order","fields":[{"name":"item","type":{"type":"record","name":"Item","fields":[{"name":"name","type":"string"}]}},{"name":"other","type":"Item"}]}`})
	body := append([]byte{0, 0, 0, 0, byte(written.ID)}, "\x02a\x02b"...)
	if got, err := c.Decode(codec.Payload{Body: body}); got != (order{item{"a"}, item{"b"}}) || err != nil {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestRegistryInTrouble(t *testing.T) {
	t.Parallel()
	fake, client := registry(t)
	c := open[order](t, avro.Options{Registry: client, Subject: "s", Register: true})
	p, err := c.Encode(order{"apple", 3})
	if err != nil {
		t.Fatal(err)
	}
	for name, answer := range map[string]http.HandlerFunc{
		"500": func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, `{"error_code":50001,"message":"store"}`, 500)
		},
		"429": func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "", http.StatusTooManyRequests) },
		"credentials": func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, `{"error_code":401}`, http.StatusUnauthorized)
		},
		"a proxy": func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "<html>", http.StatusNotFound) },
		"a wrong path": func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, `{"error_code":404,"message":"HTTP 404 Not Found"}`, http.StatusNotFound)
		},
		"nonsense": func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>") },
		"silence": func(_ http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body) // else the server does not see that the client left
			<-r.Context().Done()
		},
	} {
		fake.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
			answer(w, r)
			return true
		})
		fresh := open[order](t, avro.Options{Registry: client, Subject: "s", Timeout: 100 * time.Millisecond})
		if _, err := fresh.Encode(order{}); !errors.Is(err, codec.ErrUnavailable) {
			t.Errorf("%s: encode: %v", name, err)
		}
		if _, err := fresh.Decode(p); !errors.Is(err, codec.ErrUnavailable) {
			t.Errorf("%s: decode: %v", name, err)
		}
		if got, err := c.Decode(p); err == nil { // it was never asked about the ID
			t.Errorf("%s: %+v", name, got)
		}
		fake.ClearInterceptors()
	}
}

func TestErrorsKeepSecretsAndAreShort(t *testing.T) {
	t.Parallel()
	fake, _ := registry(t)
	address := strings.Replace(fake.URL(), "://", "://user:secret@", 1)
	client, err := sr.NewClient(sr.URLs(address), sr.LogLevel(sr.LogLevelNone))
	if err != nil {
		t.Fatal(err)
	}
	fake.Intercept(func(w http.ResponseWriter, _ *http.Request) bool {
		http.Error(w, strings.Repeat("<p>é</p>", 1000), http.StatusBadGateway)
		return true
	})
	for _, down := range []bool{false, true} {
		if down {
			fake.Close()
		}
		_, err := open[order](t, avro.Options{Registry: client, Subject: "s"}).Encode(order{})
		if err == nil || strings.Contains(err.Error(), "secret") || len(err.Error()) > 500 || !utf8.ValidString(err.Error()) {
			t.Errorf("down %t: %v", down, err)
		}
		if answered := new(sr.ResponseError); errors.As(err, &answered) == down {
			t.Errorf("down %t: the cause of %v", down, err)
		}
	}
}

func TestWhatTheRegistryRefuses(t *testing.T) {
	t.Parallel()
	fake, client := registry(t)
	if err := fake.SetCompat("s", sr.CompatBackward); err != nil {
		t.Fatal(err)
	}
	for name, try := range map[string]func() error{
		"not registered": func() error {
			_, err := open[order](t, avro.Options{Registry: client, Subject: "missing"}).Encode(order{})
			return err
		},
		"unknown ID": func() error {
			_, err := open[order](t, avro.Options{Registry: client}).Decode(codec.Payload{Body: []byte("\x00\x00\x00\x00\x63\x02a\x02")})
			return err
		},
		"for something else": func() error {
			id, _, err := fake.RegisterSchema("json", sr.Schema{Type: sr.TypeJSON, Schema: `{"type":"string"}`})
			if err != nil {
				t.Fatal(err)
			}
			_, err = open[order](t, avro.Options{Registry: client}).Decode(codec.Payload{Body: []byte{0, 0, 0, 0, byte(id), 2}})
			return err
		},
	} {
		if err := try(); err == nil || errors.Is(err, codec.ErrUnavailable) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestBadInput(t *testing.T) {
	t.Parallel()
	_, client := registry(t)
	if _, err := avro.New[order](avro.Options{}); err == nil {
		t.Error("no registry")
	}
	if _, err := avro.New[order](avro.Options{Registry: client, Schema: "{"}); err == nil {
		t.Error("a schema that is none")
	}
	if _, err := avro.New[chan int](avro.Options{Registry: client}); err == nil {
		t.Error("a type without a schema")
	}
	c := open[order](t, avro.Options{Registry: client, Subject: "s", Register: true})
	p, err := c.Encode(order{"apple", 3})
	if err != nil {
		t.Fatal(err)
	}
	for name, body := range map[string][]byte{
		"empty": nil, "short": {0, 0, 0}, "JSON": []byte(`{"item":"apple"}`), "cut": p.Body[:8], "longer": append(bytes.Clone(p.Body), 0),
	} {
		got, err := c.Decode(codec.Payload{Body: body})
		if err == nil || errors.Is(err, codec.ErrUnavailable) || got != (order{}) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
		if framed := name == "cut" || name == "longer"; errors.Is(err, avro.ErrNotFramed) == framed {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := open[map[string]any](t, avro.Options{Registry: client, Subject: "s", Schema: `"string"`, Register: true}).Encode(map[string]any{}); err == nil {
		t.Error("a value of another type")
	}
}

// A message whose schema cannot be asked for waits, and costs no attempt.
func TestMessageWaitsForTheRegistry(t *testing.T) {
	t.Parallel()
	fake, client := registry(t)
	c := open[order](t, avro.Options{Registry: client, Subject: "s", Register: true})
	p, err := c.Encode(order{"apple", 3})
	if err != nil {
		t.Fatal(err)
	}
	fake.Close()
	handle := pubsub.Typed(c, func(context.Context, order, *pubsub.Delivery) error { return nil })
	err = handle(t.Context(), &pubsub.Delivery{Message: pubsub.Message{Body: p.Body}})
	if verdict, _ := pubsub.VerdictOf(err); verdict != pubsub.VerdictPostpone || !strings.Contains(err.Error(), "get schema 1") {
		t.Errorf("%s: %v", verdict, err)
	}
}

func FuzzDecode(f *testing.F) {
	fake := srfake.New()
	defer fake.Close()
	client, err := sr.NewClient(sr.URLs(fake.URL()), sr.LogLevel(sr.LogLevelNone))
	if err != nil {
		f.Fatal(err)
	}
	c, err := avro.New[order](avro.Options{Registry: client, Subject: "s", Register: true})
	if err != nil {
		f.Fatal(err)
	}
	p, err := c.Encode(order{"apple", 3})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(p.Body)
	f.Add([]byte("\x00\x00\x00\x00\x01\xff\xff\xff\xff\x0f"))
	f.Fuzz(func(t *testing.T, value []byte) {
		body := append([]byte{0, 0, 0, 0, 1}, value...)
		v, err := c.Decode(codec.Payload{Body: body})
		if err != nil {
			return
		}
		again, err := c.Encode(v)
		if err != nil {
			t.Fatalf("%+v was decoded and cannot be encoded: %v", v, err)
		}
		if got, err := c.Decode(again); got != v || err != nil {
			t.Errorf("%+v became %+v, %v", v, got, err)
		}
	})
}
