package driver_test

import (
	"crypto/tls"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/waybill-go/waybill/pubsub/driver"
)

func TestTLSParams(t *testing.T) {
	t.Parallel()
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		values    map[string]string
		encrypted bool
		text      string // of the error; empty: none
		missing   bool   // the error's cause is a file that is not there
	}{
		"plain":             {nil, false, "", false},
		"encrypted":         {map[string]string{"tls-server-name": "broker"}, true, "", false},
		"not switched on":   {map[string]string{"tls-ca": "x"}, false, `parameter "tls-ca" is given without tls=true`, false},
		"half a pair":       {map[string]string{"tls-key": "x"}, true, "go together", false},
		"no such authority": {map[string]string{"tls-ca": empty + "x"}, true, `"tls-ca"`, true},
		"no certificate":    {map[string]string{"tls-ca": empty}, true, "no certificate", false},
		"no such pair":      {map[string]string{"tls-cert": empty + "x", "tls-key": empty}, true, `"tls-cert"`, true},
	} {
		var got *tls.Config
		p := driver.NewParams("the test", c.values)
		p.TLS(&got, c.encrypted, "tls=true")
		err := p.End()
		if (err == nil) != (c.text == "") || err != nil && !strings.Contains(err.Error(), c.text) || driver.CodeOf(err) != driver.CodeInvalid && err != nil {
			t.Errorf("%s: %v; want %q", name, err, c.text)
		}
		if missing := errors.Is(err, fs.ErrNotExist); missing != c.missing {
			t.Errorf("%s: the cause of %v is a missing file: %t", name, err, missing)
		}
		if (got != nil) != (c.encrypted && c.text == "") || got != nil && got.ServerName != "broker" {
			t.Errorf("%s: got %+v", name, got)
		}
	}
}
