package driver

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"sync"
)

// An Opener makes a Driver from a URL of its scheme. It does not connect. It fails
// with CodeInvalid on a part or a parameter that it does not know; Params helps.
type Opener func(u *url.URL) (Driver, error)

var registry = struct {
	sync.RWMutex
	openers map[string]Opener
}{openers: map[string]Opener{}}

// Register makes a scheme known to pubsub.Open. A driver's package calls it from
// init, so importing the package is enough. It panics on a scheme that is empty
// or already registered: two packages that want the same scheme cannot be linked
// into one program.
func Register(scheme string, o Opener) {
	registry.Lock()
	defer registry.Unlock()
	if scheme == "" || o == nil {
		panic("waybill: Register needs a scheme and an opener")
	}
	if _, dup := registry.openers[scheme]; dup {
		panic("waybill: scheme " + scheme + " is registered twice")
	}
	registry.openers[scheme] = o
}

// Schemes lists the registered schemes in order.
func Schemes() []string {
	registry.RLock()
	defer registry.RUnlock()
	s := make([]string, 0, len(registry.openers))
	for name := range registry.openers {
		s = append(s, name)
	}
	slices.Sort(s)
	return s
}

// FromURL finds the driver for a URL by its scheme. Its errors never repeat the
// URL's password.
func FromURL(raw string) (Driver, error) {
	if raw == "" {
		return nil, Errorf(CodeInvalid, "broker URL is empty: want something like memory://name")
	}
	if !strings.Contains(raw, "://") {
		return nil, Errorf(CodeInvalid, "broker URL has no scheme: want something like memory://name")
	}
	u, err := url.Parse(raw)
	if err != nil {
		// What url.Parse says repeats parts of the URL, and so of a password.
		return nil, Errorf(CodeInvalid,
			"broker URL does not parse: characters of a user name or password other than letters and digits must be "+
				"escaped, as in %%2F for a slash")
	}
	registry.RLock()
	o := registry.openers[u.Scheme]
	registry.RUnlock()
	if o == nil {
		return nil, Errorf(CodeInvalid, "%s", unknownScheme(u.Scheme))
	}
	return o(u)
}

// packages are the drivers of this repository, by the schemes that they register.
var packages = map[string]string{
	"memory": "memory", "kafka": "kafka", "rabbitmq": "rabbitmq", "rabbitmqs": "rabbitmq",
	"gcppubsub": "gcppubsub", "snssqs": "snssqs", "gocloud": "gocloud",
}

// elsewhere are schemes by which other libraries know the same brokers.
var elsewhere = map[string]string{
	"amqp": "rabbitmq", "amqps": "rabbitmqs", "rabbit": "rabbitmq", "sns": "snssqs", "sqs": "snssqs",
	"awssns": "snssqs", "awssqs": "snssqs", "pubsub": "gcppubsub", "mem": "memory", "nats": "gocloud", "azuresb": "gocloud",
}

// unknownScheme says what to do about a scheme that nobody has registered.
func unknownScheme(scheme string) string {
	text := fmt.Sprintf("no driver for scheme %q is linked in", scheme)
	linked := Schemes()
	meant := scheme
	if packages[scheme] == "" {
		near := elsewhere[scheme]
		if near == "" {
			near = Nearest(scheme, append(slices.Sorted(maps.Keys(packages)), linked...))
		}
		if near != "" {
			text += fmt.Sprintf("; did you mean %q?", near)
		}
		meant = near
	}
	switch {
	case slices.Contains(linked, meant):
	case packages[meant] != "":
		text += "; import _ \"github.com/waybill-go/waybill/drivers/" + packages[meant] + "\""
	default:
		text += "; import the driver's package"
	}
	if len(linked) > 0 {
		text += "; linked in: " + strings.Join(linked, ", ")
	}
	return text
}
