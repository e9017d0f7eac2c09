package recipe

import (
	"fmt"
	"os"
	"path/filepath"
)

// An Installation is a broker that this machine has, ready to start.
type Installation struct {
	Kind    Kind
	Version string
	// Where it is: a root file system, a folder of jars, a jar, a virtual
	// environment, by kind. For RabbitMQ "/" is the system's own package.
	Path string
}

// Cache is the folder that installations are kept in: waybill/brokers in the user's
// cache folder.
func Cache() (string, error) {
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("there is no cache folder to keep brokers in: %w", err)
	}
	return filepath.Join(dir, "waybill", "brokers"), nil
}

// Complete is the name of the file that a finished installation has in its folder.
const Complete = ".complete"

// Installed lists what this machine has of a kind, the preferred first.
func Installed(kind Kind) []Installation {
	switch kind {
	case RabbitMQ:
		return append(systemRabbitMQ("/"), cached("rabbitmq-*", systemRabbitMQ)...)
	case Kafka:
		return cached("kafka-*", jars)
	case GCPPubSub:
		return emulators()
	case SNSSQS:
		return cached("ministack-*", environments)
	}
	return nil
}

// Find returns what this machine has for a want. The error says what is missing and
// how to get it.
func Find(want Want) (Installation, error) {
	var others string
	for _, i := range Installed(want.Kind) {
		if want.Suits(i.Version) {
			return i, nil
		}
		others += " " + i.Version
	}
	if others != "" {
		return Installation{}, fmt.Errorf("%s is not installed (only%s is): %s", want, others, want.Hint())
	}
	return Installation{}, fmt.Errorf("%s is not installed: %s", want, want.Hint())
}

// Hint says how to get a broker.
func (w Want) Hint() string {
	if w.Kind == GCPPubSub {
		return "install the Google Cloud CLI's pubsub-emulator component and Java, or set " + w.Environment()
	}
	return fmt.Sprintf("run `go run ./testing/brokers/cmd/brokers install %s`, or set %s", w, w.Environment())
}

// cached looks at finished installations in the cache folder.
func cached(pattern string, look func(string) []Installation) []Installation {
	dir, err := Cache()
	if err != nil {
		return nil
	}
	paths, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil {
		return nil
	}
	var list []Installation
	for _, path := range paths {
		if _, err := os.Stat(filepath.Join(path, Complete)); err == nil {
			list = append(list, look(path)...)
		}
	}
	return list
}

// Rooted says whether the broker runs in a root file system of its own.
func (i Installation) Rooted() bool { return i.Kind == RabbitMQ && i.Path != "/" }
