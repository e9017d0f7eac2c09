package rabbitmq_test

import (
	"reflect"
	"testing"

	"github.com/waybill-go/waybill/drivers/rabbitmq"
	"github.com/waybill-go/waybill/pubsub/driver"
)

func TestSettingsFromAFile(t *testing.T) {
	t.Parallel()
	got, err := driver.TopicSettings(driver.SettingsOf("rabbitmqs"), map[string]string{
		"exchange": "ours", "exchange-kind": "topic", "routing-key": "a.b", "binding-keys": "a.*,b.#",
		"existing-queue": "tasks", "partitions": "8", "queues": "classic",
	})
	want := []any{
		rabbitmq.Exchange{Name: "ours", Kind: "topic", RoutingKey: "a.b", BindingKeys: []string{"a.*", "b.#"}},
		rabbitmq.ExistingQueue("tasks"), rabbitmq.Partitions(8), rabbitmq.Classic,
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, %v; want %v", got, err, want)
	}
	for name, value := range map[string]string{"partition": "8", "partitions": "many", "queues": "stream", "exchange-kind": "x-hash"} {
		if _, err := driver.TopicSettings("rabbitmq", map[string]string{name: value}); driver.CodeOf(err) != driver.CodeInvalid {
			t.Errorf("%s: %s: got %v; want invalid", name, value, err)
		}
	}
}
