package config

import (
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/waybill-go/waybill/pubsub/driver"
)

// resolve reads a secret. The errors tell where it was looked for, never what is there.
func (c *Config) resolve(r reference) (string, error) {
	if r.from == "env" {
		value, _ := c.lookup(r.name)
		if value == "" {
			return "", invalid("environment variable %s is not set, or empty", r.name)
		}
		return value, nil
	}
	path := r.name
	if !filepath.IsAbs(path) {
		path = filepath.Join(c.dir(), path)
	}
	text, err := os.ReadFile(path) //nolint:gosec // the file says which
	if err != nil {
		return "", driver.Wrap(driver.CodeInvalid, "secret", err)
	}
	value := strings.TrimSuffix(strings.TrimSuffix(string(text), "\n"), "\r")
	if value == "" {
		return "", invalid("file %s is empty", path)
	}
	return value, nil
}

// address makes the whole URL of a broker.
func (c *Config) address(name string) (address, error) {
	b, key := c.doc.Brokers[name], under("brokers", name)
	u, err := url.Parse(b.URL)
	if err != nil {
		return address{}, locate(c.file, c.places, under(key, "url"), invalid("does not parse"))
	}
	var a address
	if password, has := u.User.Password(); has {
		a.secrets = append(a.secrets, password)
	}
	if b.User != "" {
		u.User = url.User(b.User)
	}
	if b.Password != (reference{}) {
		password, err := c.resolve(b.Password)
		if err != nil {
			return a, locate(c.file, c.places, under(key, "password"), err)
		}
		a.secrets = append(a.secrets, password)
		u.User = url.UserPassword(u.User.Username(), password)
	}
	query := u.Query()
	for param, value := range b.Params {
		query.Set(param, value)
	}
	for param, r := range b.Secrets {
		value, err := c.resolve(r)
		if err != nil {
			return a, locate(c.file, c.places, under(key, "secrets", param), err)
		}
		a.secrets = append(a.secrets, value)
		query.Set(param, value)
	}
	if len(b.Params)+len(b.Secrets) > 0 {
		u.RawQuery = query.Encode()
	}
	a.url = whole(u)
	return a, nil
}

// place is a broker's URL without what may be secret in it.
func (b *broker) place() string {
	u, err := url.Parse(b.URL)
	if err != nil {
		return ""
	}
	return whole(&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path})
}

// scheme chooses the broker's driver.
func (b *broker) scheme() string {
	scheme, _, _ := strings.Cut(b.URL, "://")
	return strings.ToLower(scheme)
}

// whole is the text of a URL, with the slashes that String leaves out where there is no
// host.
func whole(u *url.URL) string {
	text := u.String()
	if scheme, rest, _ := strings.Cut(text, ":"); u.Opaque == "" && !strings.HasPrefix(rest, "//") {
		return scheme + "://" + rest
	}
	return text
}
