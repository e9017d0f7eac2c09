package driver_test

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/waybill-go/waybill/pubsub/driver"
)

// A URL that does not parse is told without any part of it: the usual reason is a
// password with a character that should be escaped.
func TestFromURLKeepsSecrets(t *testing.T) {
	t.Parallel()
	for _, raw := range []string{
		"rabbitmq://user:s3cr/et@host", "rabbitmq://user:s3cr%zzet@host", "rabbitmq://user:s3cr et@host",
		"rabbitmq://user:s3cr[et@host", "://user:s3cret@host", "user:s3cret@host", "rabbitmq://user:s3cr?et@host",
	} {
		_, err := driver.FromURL(raw)
		if err == nil || driver.CodeOf(err) != driver.CodeInvalid {
			t.Errorf("%s: %v", raw, err)
			continue
		}
		for _, part := range []string{"s3cr", "%zz", "et@"} {
			if strings.Contains(err.Error(), part) {
				t.Errorf("%s: the error repeats a part of it: %v", raw, err)
			}
		}
	}
}

// An unknown scheme is told with what to import.
func TestFromURLNamesThePackage(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]string{
		"":                  `broker URL is empty: want something like memory://name`,
		"localhost:9092":    `broker URL has no scheme: want something like memory://name`,
		"kafka://localhost": `no driver for scheme "kafka" is linked in; import _ "github.com/waybill-go/waybill/drivers/kafka"`,
		"kakfa://localhost": `no driver for scheme "kakfa" is linked in; did you mean "kafka"?; import _ "github.com/waybill-go/waybill/drivers/kafka"`,
		"amqps://localhost": `no driver for scheme "amqps" is linked in; did you mean "rabbitmqs"?; import _ "github.com/waybill-go/waybill/drivers/rabbitmq"`,
		"carrier-pigeon://": `no driver for scheme "carrier-pigeon" is linked in; import the driver's package`,
		"plane://localhost": `no driver for scheme "plane" is linked in; did you mean "plain"?; linked in: `,
	} {
		if _, err := driver.FromURL(raw); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q: got %v; want %s", raw, err, want)
		}
	}
}

func FuzzFromURL(f *testing.F) {
	for _, s := range []string{"", "memory://x", "a://u:p@h:1/p?q=1#f", "://", "%://", "kafka://[::1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		if _, err := driver.FromURL(raw); err == nil || driver.CodeOf(err) != driver.CodeInvalid {
			t.Errorf("%q: %v", raw, err) // nothing is registered here
		}
	})
}

func FuzzParams(f *testing.F) {
	for _, s := range []string{"", "n=1&d=3s", "n=-1", "n=1&n=2", "b=maybe", "wrod=x", "d=1", "%zz", "c=one"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, query string) {
		var (
			n           int
			b           bool
			d           time.Duration
			word, among string
		)
		p := driver.ParseParams(&url.URL{Scheme: "fuzz", RawQuery: query})
		p.Int("n", &n)
		p.Bool("b", &b)
		p.Duration("d", &d)
		p.String("word", &word)
		p.Choice("c", &among, "one", "two")
		if err := p.End(); err != nil && driver.CodeOf(err) != driver.CodeInvalid {
			t.Errorf("%q: %v", query, err)
		}
		if n < 0 || d < 0 || among != "" && among != "one" && among != "two" {
			t.Errorf("%q: n %d, d %v, c %q", query, n, d, among)
		}
	})
}
