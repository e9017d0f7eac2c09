package pubsub

import (
	"bytes"
	"slices"
	"testing"

	"github.com/waybill-go/waybill/pubsub/driver"
)

// Messages share room, and no bytes: neither with each other nor with their publishers.
func TestOutgoingsAreTheirOwn(t *testing.T) {
	t.Parallel()
	var all []*outgoing
	var want [][]byte
	for i := range 3 * reamBodies / 100 {
		body := bytes.Repeat([]byte{byte(i)}, i*13%(shortBody+100))
		if i == 1 {
			body = nil
		}
		want = append(want, slices.Clone(body))
		o := newOutgoing()
		if o.copied || o.message[0].Body != nil {
			t.Fatalf("%d is not new", i)
		}
		o.message[0] = driver.Message{Body: body, Headers: map[string]string{"h": "v"}}
		headers := o.message[0].Headers
		o.own()
		clear(headers)
		clear(body)
		all = append(all, o)
	}
	for _, o := range all {
		_ = append(o.message[0].Body, "more than there is room for"...)
	}
	for i, o := range all {
		if m := &o.message[0]; !bytes.Equal(m.Body, want[i]) || (m.Body == nil) != (want[i] == nil) || m.Headers["h"] != "v" {
			t.Errorf("%d has a body of %d bytes, want %d, or others; headers %v", i, len(m.Body), len(want[i]), m.Headers)
		}
	}
}
