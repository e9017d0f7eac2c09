package config

import (
	"context"
	"errors"
	"net/url"
	"strings"

	"github.com/waybill-go/waybill/pubsub"
	"github.com/waybill-go/waybill/pubsub/driver"
)

// address is the whole URL of a broker, and what is secret in it.
type address struct {
	url     string
	secrets []string
}

// open connects. The engine's logs see errors without the secrets, and so do callers.
func (a address) open(ctx context.Context, options []pubsub.ClientOption) (*pubsub.Client, error) {
	d, err := driver.FromURL(a.url)
	if err != nil {
		return nil, a.hide(err)
	}
	return pubsub.New(ctx, discreet{d, a}, options...)
}

// discreet is a driver whose errors tell no secrets, should the one beneath do so.
type discreet struct {
	driver.Driver
	address address
}

func (d discreet) Open(ctx context.Context) (driver.Conn, error) {
	conn, err := d.Driver.Open(ctx)
	return conn, d.address.hide(err)
}

// hide keeps secrets out of an error. Where there was one, the error's cause is gone
// too, since it would tell: its code, and which parameter it is about, are kept.
func (a address) hide(err error) error {
	if err == nil {
		return nil
	}
	text := err.Error()
	for _, secret := range a.secrets {
		for _, form := range []string{secret, url.QueryEscape(secret), url.PathEscape(secret)} {
			text = strings.ReplaceAll(text, form, "[secret]")
		}
	}
	if text == err.Error() {
		return err
	}
	if bad := new(driver.ParamError); errors.As(err, &bad) {
		return &driver.ParamError{Name: bad.Name, Text: text}
	}
	return driver.Errorf(driver.CodeOf(err), "%s", text)
}
