package driver

import (
	"crypto/tls"
	"crypto/x509"
	"os"
)

// TLS reads the parameters of an encrypted connection: tls-ca, tls-cert and tls-key name
// PEM files, of who is trusted instead of those whom the system trusts, and of who we
// are; tls-server-name is the name in the server's certificate. Where the connection is
// encrypted v is set, to TLS 1.2 or later. Where it is not, each of them is an error,
// which says without what it is of no use.
func (p *Params) TLS(v **tls.Config, encrypted bool, without string) {
	var ca, cert, key string
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	given := ""
	for _, of := range []struct {
		name string
		v    *string
	}{{"tls-ca", &ca}, {"tls-cert", &cert}, {"tls-key", &key}, {"tls-server-name", &c.ServerName}} {
		if p.String(of.name, of.v); *of.v != "" {
			given = of.name
		}
	}
	switch {
	case !encrypted && given != "":
		p.fail(given, "is given without %s", without)
		return
	case !encrypted:
		return
	case (cert == "") != (key == ""):
		p.fail("tls-cert", "and tls-key go together")
		return
	}
	if ca != "" {
		pem, err := os.ReadFile(ca) //nolint:gosec // the file that the user names
		c.RootCAs = x509.NewCertPool()
		if err != nil || !c.RootCAs.AppendCertsFromPEM(pem) {
			p.failBy("tls-ca", err, "is %q, which has no certificate in PEM form", ca)
			return
		}
	}
	if cert != "" {
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			p.failBy("tls-cert", err, "and tls-key are no pair of certificate and key")
			return
		}
		c.Certificates = []tls.Certificate{pair}
	}
	*v = c
}
