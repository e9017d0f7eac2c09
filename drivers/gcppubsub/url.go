package gcppubsub

import (
	"net/url"
	"strings"

	"github.com/waybill-go/waybill/pubsub/driver"
)

func init() {
	driver.Register("gcppubsub", open)
	driver.RegisterSettings(driver.Settings{Topic: readTopic, Subscription: readSubscription}, "gcppubsub")
}

func open(u *url.URL) (driver.Driver, error) {
	if u.User != nil || strings.Trim(u.Path, "/") != "" || u.Port() != "" || u.Fragment != "" {
		return nil, driver.Errorf(driver.CodeInvalid, "gcppubsub URL: want gcppubsub://PROJECT, with parameters after a ?, and nothing else; credentials are found in Google's usual ways")
	}
	c := Config{Project: u.Hostname()}
	var project string
	p := driver.ParseParams(u)
	p.String("project", &project)
	p.String("emulator", &c.Emulator)
	p.String("endpoint", &c.Endpoint)
	p.String("universe", &c.Universe)
	p.Bool("exactly-once", &c.ExactlyOnce)
	p.Duration("lease", &c.Lease)
	if err := p.End(); err != nil {
		return nil, err
	}
	if project != "" {
		if c.Project != "" && c.Project != project {
			return nil, driver.Errorf(driver.CodeInvalid, "gcppubsub URL names two projects, as its host and as project; leave one out")
		}
		c.Project = project
	}
	return New(c)
}
