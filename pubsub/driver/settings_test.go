package driver_test

import (
	"errors"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/waybill-go/waybill/pubsub/driver"
)

type retention struct {
	Partitions int
	Keep       time.Duration
}

func init() {
	opener := func(*url.URL) (driver.Driver, error) { return nil, driver.Errorf(driver.CodeInternal, "never opened") }
	for _, scheme := range []string{"ledger", "ledgers", "plain"} {
		driver.Register(scheme, opener)
	}
	driver.RegisterSettings(driver.Settings{Topic: func(p *driver.Params) []any {
		r := retention{Partitions: 1}
		p.Int("partitions", &r.Partitions)
		p.Duration("keep", &r.Keep)
		return []any{r}
	}}, "ledger", "ledgers")
}

func TestSettingsBecomeTheDriversOwn(t *testing.T) {
	t.Parallel()
	made, err := driver.TopicSettings(driver.SettingsOf("ledgers"), map[string]string{"keep": "24h"})
	if want := (retention{1, 24 * time.Hour}); err != nil || len(made) != 1 || made[0] != want {
		t.Errorf("got %v, %v; want %v", made, err, want)
	}
	if name := driver.SettingsOf("plain"); name != "" {
		t.Errorf("plain has settings %q; want none", name)
	}
}

func TestWrongSettings(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		name, key, value, text, param string
	}{
		"unknown parameter":    {"ledger", "partition", "3", `did you mean "partitions"?`, "partition"},
		"wrong type":           {"ledger", "partitions", "many", `parameter "partitions" is "many"; want a number`, "partitions"},
		"misspelt name":        {"leger", "keep", "1h", `did you mean "ledger"?`, ""},
		"not linked in":        {"carrierpigeon", "keep", "1h", "import the driver's package", ""},
		"another name of it":   {"ledgers", "keep", "1h", `named "ledger"`, ""},
		"driver without":       {"plain", "keep", "1h", "has no settings", ""},
		"none of subscription": {"ledger", "keep", "1h", "has no settings of a subscription", "-"},
	} {
		read := driver.TopicSettings
		if c.param == "-" {
			read = driver.SubscriptionSettings
		}
		_, err := read(c.name, map[string]string{c.key: c.value})
		if err == nil || !strings.Contains(err.Error(), c.text) || driver.CodeOf(err) != driver.CodeInvalid {
			t.Errorf("%s: got %v; want invalid, with %q", name, err, c.text)
		}
		var bad *driver.ParamError
		if errors.As(err, &bad) != (c.param == c.key) || bad != nil && bad.Name != c.param {
			t.Errorf("%s: got parameter %v; want %q", name, bad, c.param)
		}
	}
}

func TestSettingsAreRegisteredOnce(t *testing.T) {
	t.Parallel()
	defer func() {
		if recover() == nil {
			t.Error("registering the settings of a scheme twice did not panic")
		}
	}()
	driver.RegisterSettings(driver.Settings{}, "bills", "ledgers")
}
