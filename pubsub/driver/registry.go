package driver

import (
	"errors"
	"fmt"
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
	scheme, _, found := strings.Cut(raw, "://")
	if !found {
		return nil, Errorf(CodeInvalid, "broker URL has no scheme: want something like memory://name")
	}
	u, err := url.Parse(raw)
	if err != nil {
		// url.Error repeats the URL, password and all: keep what is beneath it.
		var inner *url.Error
		if errors.As(err, &inner) {
			err = inner.Err
		}
		return nil, Wrap(CodeInvalid, scheme+" URL does not parse", err)
	}
	registry.RLock()
	o := registry.openers[u.Scheme]
	registry.RUnlock()
	if o == nil {
		known := Schemes()
		text := fmt.Sprintf("no driver for scheme %q is linked in", u.Scheme)
		if near := nearest(u.Scheme, known); near != "" {
			text += fmt.Sprintf("; did you mean %q?", near)
		}
		if len(known) == 0 {
			text += "; import a driver's package, such as drivers/memory"
		} else {
			text += "; linked in: " + strings.Join(known, ", ") + "; import the driver's package"
		}
		return nil, Errorf(CodeInvalid, text)
	}
	return o(u)
}
