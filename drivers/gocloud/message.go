package gocloud

import (
	"bytes"
	"maps"
	"strings"

	cloud "gocloud.dev/pubsub"

	"github.com/waybill-go/waybill/pubsub"
	"github.com/waybill-go/waybill/pubsub/driver"
)

// The metadata that carries what gocloud.dev's messages have no field for. Users'
// headers cannot begin so.
const (
	metadataID   = pubsub.ReservedHeaderPrefix + "id"
	metadataKey  = pubsub.ReservedHeaderPrefix + "key"
	metadataMark = pubsub.ReservedHeaderPrefix + "mark" // names one publishing, for counts
)

// outgoing makes gocloud.dev's message, which shares nothing with ours: some of its
// drivers keep what they are given.
func outgoing(m *driver.Message, keyName, mark string) *cloud.Message {
	metadata := make(map[string]string, len(m.Headers)+3)
	maps.Copy(metadata, m.Headers)
	metadata[metadataMark] = mark
	if m.ID != "" {
		metadata[metadataID] = m.ID
	}
	if m.Key != "" {
		metadata[keyName] = m.Key
	}
	return &cloud.Message{Body: bytes.Clone(m.Body), Metadata: metadata}
}

// incoming makes a message of gocloud.dev's, and tells its mark. It shares nothing:
// gocloud.dev's memory driver gives the same bytes to all subscriptions.
func incoming(m *cloud.Message, keyName string) (driver.Message, string) {
	in := driver.Message{ID: m.Metadata[metadataID], Key: m.Metadata[keyName], Body: bytes.Clone(m.Body)}
	for name, value := range m.Metadata {
		if name == keyName || strings.HasPrefix(name, pubsub.ReservedHeaderPrefix) {
			continue
		}
		if in.Headers == nil {
			in.Headers = make(map[string]string, len(m.Metadata))
		}
		in.Headers[name] = value
	}
	return in, m.Metadata[metadataMark]
}
