package kafka_test

import (
	"reflect"
	"testing"

	"github.com/waybill-go/waybill/drivers/kafka"
	"github.com/waybill-go/waybill/pubsub/driver"
)

func TestSettingsFromAFile(t *testing.T) {
	t.Parallel()
	got, err := driver.TopicSettings(driver.SettingsOf("kafka"), map[string]string{"partitions": "6", "replicas": "3", "retention": "24h"})
	want := []any{kafka.TopicSettings{Partitions: 6, Replicas: 3, Config: map[string]string{"retention.ms": "86400000"}}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, %v; want %v", got, err, want)
	}
	for name, value := range map[string]string{"partition": "6", "partitions": "many", "retention": "a day"} {
		if _, err := driver.TopicSettings("kafka", map[string]string{name: value}); driver.CodeOf(err) != driver.CodeInvalid {
			t.Errorf("%s: %s: got %v; want invalid", name, value, err)
		}
	}
}
