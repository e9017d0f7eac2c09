package recipe

import (
	"fmt"
	"strings"
)

// A Kind is a broker that can be started.
type Kind string

// The brokers.
const (
	RabbitMQ  Kind = "rabbitmq"
	Kafka     Kind = "kafka"
	GCPPubSub Kind = "gcppubsub"
	SNSSQS    Kind = "snssqs"
)

// Kinds are all brokers, in the order in which they are listed.
var Kinds = []Kind{RabbitMQ, Kafka, GCPPubSub, SNSSQS}

// A Want names a broker and, where it matters, its version: "4.3" wants any 4.3.
type Want struct {
	Kind    Kind
	Version string
}

// Parse reads a want as a person writes it: rabbitmq, rabbitmq@4.3.
func Parse(s string) (Want, error) {
	name, version, at := strings.Cut(s, "@")
	for _, k := range Kinds {
		if name == string(k) {
			if at && version == "" {
				return Want{}, fmt.Errorf("%q names no version after the @: write %s or, say, rabbitmq@4.3", s, k)
			}
			return Want{Kind: k, Version: version}, nil
		}
	}
	return Want{}, fmt.Errorf("there is no broker %q: choose among %s", name, join(Kinds))
}

// String is what Parse reads.
func (w Want) String() string {
	if w.Version == "" {
		return string(w.Kind)
	}
	return string(w.Kind) + "@" + w.Version
}

// Environment is the variable that holds the address of such a broker, where
// somebody else runs it: WAYBILL_RABBITMQ_URL, WAYBILL_RABBITMQ_4_3_URL.
func (w Want) Environment() string {
	name := "WAYBILL_" + strings.ToUpper(string(w.Kind))
	if w.Version != "" {
		name += "_" + strings.ReplaceAll(w.Version, ".", "_")
	}
	return name + "_URL"
}

// Suits says whether a version that is there is one that is wanted.
func (w Want) Suits(version string) bool {
	return w.Version == "" || version == w.Version || strings.HasPrefix(version, w.Version+".")
}

func join(kinds []Kind) string {
	names := make([]string, len(kinds))
	for i, k := range kinds {
		names[i] = string(k)
	}
	return strings.Join(names, ", ")
}
