package driver

import (
	"fmt"
	"slices"
	"strings"
	"sync"
)

// Settings makes a driver's own settings, those of TopicRequest.Settings, of names
// and texts: for programs that are set up by a file and import the driver for its
// side effect alone. A nil function says that there are none of that role.
//
// The functions read all that they know from p, and return values of the driver's own
// types, those that were given. They need not look at p's errors.
type Settings struct {
	// Topic reads what belongs to a topic. Publishers and subscribers get it, since
	// either may make the topic.
	Topic func(p *Params) []any
	// Subscription reads what belongs to a subscription alone.
	Subscription func(p *Params) []any
}

var settings = struct {
	sync.RWMutex
	registered map[string]section // by scheme
}{registered: map[string]section{}}

// section is where a scheme's settings stand in a file.
type section struct {
	name string
	Settings
}

// RegisterSettings makes a driver's settings known to programs that are set up by a
// file, under the name of one of its schemes; aliases are the driver's other
// schemes. A driver with settings calls it from init, beside Register. It panics on
// a scheme that has settings already.
func RegisterSettings(s Settings, scheme string, aliases ...string) {
	settings.Lock()
	defer settings.Unlock()
	for _, alias := range append([]string{scheme}, aliases...) {
		if _, dup := settings.registered[alias]; dup || alias == "" {
			panic(fmt.Sprintf("waybill: settings of scheme %q are registered twice, or it is empty", alias))
		}
		settings.registered[alias] = section{scheme, s}
	}
}

// SettingsOf names the settings that a broker with a URL of that scheme has: those
// of its driver, under the driver's first name. Empty: it has none.
func SettingsOf(scheme string) string {
	settings.RLock()
	defer settings.RUnlock()
	return settings.registered[scheme].name
}

// TopicSettings makes the settings of a topic, for TopicRequest.Settings. Errors are
// CodeInvalid; a *ParamError names what is wrong.
func TopicSettings(name string, values map[string]string) ([]any, error) {
	return makeSettings(name, "of a topic", values, func(s Settings) func(*Params) []any { return s.Topic })
}

// SubscriptionSettings is as TopicSettings, for those of a subscription.
func SubscriptionSettings(name string, values map[string]string) ([]any, error) {
	return makeSettings(name, "of a subscription", values, func(s Settings) func(*Params) []any { return s.Subscription })
}

func makeSettings(name, role string, values map[string]string, pick func(Settings) func(*Params) []any) ([]any, error) {
	settings.RLock()
	s, ok := settings.registered[name]
	settings.RUnlock()
	if !ok || s.name != name {
		return nil, unknownSettings(name, s.name)
	}
	read := pick(s.Settings)
	if read == nil {
		return nil, Errorf(CodeInvalid, "%s has no settings %s", name, role)
	}
	p := NewParams(name+" settings "+role, values)
	made := read(p)
	if err := p.End(); err != nil {
		return nil, err
	}
	return made, nil
}

// unknownSettings says why a name is not one of settings.
func unknownSettings(name, first string) error {
	if first != "" {
		return Errorf(CodeInvalid, "settings of %q are named %q", name, first)
	}
	if slices.Contains(Schemes(), name) {
		return Errorf(CodeInvalid, "the driver of %q has no settings; leave them out", name)
	}
	settings.RLock()
	var known []string
	for scheme, s := range settings.registered {
		if scheme == s.name {
			known = append(known, scheme)
		}
	}
	settings.RUnlock()
	slices.Sort(known)
	text := fmt.Sprintf("no driver with settings %q is linked in", name)
	if near := Nearest(name, known); near != "" {
		text += fmt.Sprintf("; did you mean %q?", near)
	}
	if len(known) > 0 {
		text += "; linked in: " + strings.Join(known, ", ")
	}
	return Errorf(CodeInvalid, "%s; import the driver's package", text)
}
