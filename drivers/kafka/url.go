package kafka

import (
	"net/url"
	"strings"

	"github.com/waybill-go/waybill/pubsub/driver"
)

func init() {
	driver.Register("kafka", fromURL)
	driver.RegisterSettings(driver.Settings{Topic: section}, "kafka")
}

func fromURL(u *url.URL) (driver.Driver, error) {
	if strings.Trim(u.Path, "/") != "" || u.Fragment != "" {
		return nil, driver.Errorf(driver.CodeInvalid, "kafka URL: want kafka://user:password@host:9092,host:9092, with parameters after a ?, and nothing else")
	}
	var c Config
	if u.Host != "" {
		c.Brokers = strings.Split(u.Host, ",")
	}
	p := driver.ParseParams(u)
	p.String("client-id", &c.ClientID)
	p.Duration("timeout", &c.Timeout)
	p.String("rack", &c.Rack)
	p.String("compression", &c.Compression)
	p.Int("message-bytes", &c.MessageBytes)
	p.String("group-prefix", &c.GroupPrefix)
	p.String("start", &c.Start)
	p.String("out-of-range", &c.OutOfRange)
	p.String("balance", &c.Balance)
	p.String("instance", &c.Instance)
	p.Bool("read-committed", &c.ReadCommitted)
	p.Duration("session-timeout", &c.SessionTimeout)
	p.Duration("heartbeat", &c.Heartbeat)
	p.Duration("rebalance-timeout", &c.RebalanceTimeout)
	p.Duration("grace", &c.Grace)
	p.Duration("max-wait", &c.MaxWait)
	p.Int("fetch-bytes", &c.FetchBytes)
	p.Int("metadata-bytes", &c.MetadataBytes)
	p.Duration("delay-from", &c.DelayFrom)
	p.Int("partitions", &c.Partitions)
	p.Int("replicas", &c.Replicas)
	var secure bool
	mechanism := plain
	p.Bool("tls", &secure)
	p.TLS(&c.TLS, secure, "tls=true")
	p.String("sasl", &mechanism)
	if err := p.End(); err != nil {
		return nil, err
	}
	if mechanism = strings.ToUpper(mechanism); u.User != nil || mechanism != plain {
		password, _ := u.User.Password()
		c.SASL = &SASL{Mechanism: mechanism, User: u.User.Username(), Password: password}
	}
	d, err := New(c)
	if err != nil {
		return nil, err
	}
	return d, nil
}
