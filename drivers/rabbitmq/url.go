package rabbitmq

import (
	"net"
	"net/url"
	"strings"

	"github.com/waybill-go/waybill/pubsub/driver"
)

func init() {
	driver.Register("rabbitmq", open)
	driver.Register("rabbitmqs", open)
}

func open(u *url.URL) (driver.Driver, error) {
	var c Config
	var nodes, auth, queues string
	secure := u.Scheme == "rabbitmqs"
	p := driver.ParseParams(u)
	p.String("nodes", &nodes)
	p.TLS(&c.TLS, secure, "the scheme rabbitmqs")
	p.Choice("auth", &auth, "plain", "external")
	p.String("name", &c.Name)
	p.Duration("heartbeat", &c.Heartbeat)
	p.Duration("timeout", &c.Timeout)
	p.Choice("queues", &queues, string(Quorum), string(Classic))
	p.Int("partitions", &c.Partitions)
	p.Int("unconfirmed", &c.Unconfirmed)
	p.Int("sends-per-key", &c.SendsPerKey)
	p.Int("message-bytes", &c.MessageBytes)
	p.Duration("consumer-timeout", &c.ConsumerTimeout)
	p.Duration("broadcast-expiry", &c.BroadcastExpiry)
	p.Duration("delay-expiry", &c.DelayExpiry)
	if err := p.End(); err != nil {
		return nil, err
	}
	if u.Opaque != "" || u.Fragment != "" || u.Hostname() == "" {
		return nil, invalid("%s URL: want %[1]s://user:password@host:port/vhost, with parameters after a ?", u.Scheme)
	}
	port := "5672"
	if secure {
		port = "5671"
	}
	c.Addresses = []string{withPort(u.Host, port)}
	for node := range strings.SplitSeq(nodes, ",") {
		if node != "" {
			c.Addresses = append(c.Addresses, withPort(node, port))
		}
	}
	c.VHost = strings.TrimPrefix(u.Path, "/")
	c.Username = u.User.Username()
	c.Password, _ = u.User.Password()
	c.External, c.Queues = auth == "external", QueueType(queues)
	return New(c)
}

func withPort(host, port string) string {
	if _, _, err := net.SplitHostPort(host); err == nil {
		return host
	}
	if strings.Contains(host, ":") && !strings.HasPrefix(host, "[") {
		return host // for New to refuse
	}
	return net.JoinHostPort(strings.Trim(host, "[]"), port)
}
