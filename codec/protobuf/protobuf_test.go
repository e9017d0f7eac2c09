package protobuf_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/waybill-go/waybill/codec"
	"github.com/waybill-go/waybill/codec/protobuf"
	"github.com/waybill-go/waybill/pubsub"
)

func ExampleBinary() {
	c := protobuf.Binary[*durationpb.Duration]()
	p, _ := c.Encode(durationpb.New(90 * time.Second))
	fmt.Println(p.ContentType)
	v, err := c.Decode(p)
	fmt.Println(v.AsDuration(), err)
	// Output:
	// application/protobuf; proto=google.protobuf.Duration
	// 1m30s <nil>
}

func ExampleJSON() {
	p, _ := protobuf.JSON[*durationpb.Duration]().Encode(durationpb.New(90 * time.Second))
	fmt.Printf("%s: %s\n", p.ContentType, p.Body)
	v, err := protobuf.Binary[*durationpb.Duration]().Decode(p) // follows the content type
	fmt.Println(v.AsDuration(), err)
	// Output:
	// application/json; proto=google.protobuf.Duration: "90s"
	// 1m30s <nil>
}

func TestBadInput(t *testing.T) {
	t.Parallel()
	any := protobuf.Binary[proto.Message]()
	if _, err := any.Encode(durationpb.New(0)); err == nil {
		t.Error("encoded an interface")
	}
	if _, err := any.Decode(codec.Payload{}); err == nil {
		t.Error("decoded into an interface")
	}
	c := protobuf.Binary[*durationpb.Duration]()
	if _, err := c.Encode(nil); err == nil {
		t.Error("encoded nil")
	}
	if _, err := c.Encode((*durationpb.Duration)(nil)); err == nil {
		t.Error("encoded a nil message")
	}
	stamp, err := protobuf.Binary[*timestamppb.Timestamp]().Encode(timestamppb.New(time.Unix(1, 0)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Decode(stamp); !errors.Is(err, protobuf.ErrOtherMessage) {
		t.Errorf("another message: %v", err)
	}
	for name, p := range map[string]codec.Payload{
		"damaged":            {Body: []byte{0xff}},
		"damaged JSON":       {Body: []byte("{"), ContentType: "application/json"},
		"another media type": {ContentType: "text/plain"},
		"no media type":      {ContentType: ";;"},
	} {
		if v, err := c.Decode(p); err == nil || v != nil {
			t.Errorf("%s: %v, %v", name, v, err)
		}
	}
}

func TestWithoutAContentType(t *testing.T) {
	t.Parallel()
	want := durationpb.New(time.Second)
	for _, c := range []codec.Codec[*durationpb.Duration]{protobuf.Binary[*durationpb.Duration](), protobuf.JSON[*durationpb.Duration]()} {
		p, err := c.Encode(want)
		if err != nil {
			t.Fatal(err)
		}
		p.ContentType = ""
		if got, err := c.Decode(p); err != nil || !proto.Equal(got, want) {
			t.Errorf("%v, %v", got, err)
		}
	}
}

// A failed decode is permanent.
func TestFailedDecodeIsPermanent(t *testing.T) {
	t.Parallel()
	handler := pubsub.Typed(protobuf.Binary[*durationpb.Duration](), func(context.Context, *durationpb.Duration, *pubsub.Delivery) error { return nil })
	err := handler(t.Context(), &pubsub.Delivery{Message: pubsub.Message{Body: []byte{0xff}}})
	if verdict, _ := pubsub.VerdictOf(err); verdict != pubsub.VerdictPermanent {
		t.Errorf("%v, want permanent", err)
	}
}

func FuzzDecode(f *testing.F) {
	binary, json := protobuf.Binary[*structpb.Struct](), protobuf.JSON[*structpb.Struct]()
	s, err := structpb.NewStruct(map[string]any{"a": 1, "b": []any{"c", nil}})
	if err != nil {
		f.Fatal(err)
	}
	for _, c := range []codec.Codec[*structpb.Struct]{binary, json} {
		p, err := c.Encode(s)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(p.Body, p.ContentType)
	}
	f.Add([]byte("{}"), "application/x+json; proto=\"")
	f.Fuzz(func(t *testing.T, body []byte, contentType string) {
		v, err := binary.Decode(codec.Payload{Body: bytes.Clone(body), ContentType: contentType})
		if err != nil {
			return
		}
		p, err := binary.Encode(v)
		if err != nil {
			return // valid to read, and not to write, such as text that is not UTF-8
		}
		if again, err := binary.Decode(p); err != nil || !proto.Equal(again, v) && proto.Size(again) != proto.Size(v) {
			t.Fatalf("%v came back as %v, %v", v, again, err)
		}
	})
}
