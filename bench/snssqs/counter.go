package main

import (
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync/atomic"
)

// counter is a proxy that counts requests.
type counter struct {
	server   *httptest.Server
	requests atomic.Int64
}

// count starts one before the broker of a URL, and returns the broker behind it.
func count(raw string) (*counter, broker, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return nil, broker{}, err
	}
	q := u.Query()
	target, err := url.Parse(q.Get("endpoint"))
	if err != nil {
		return nil, broker{}, err
	}
	c := &counter{}
	forward := &httputil.ReverseProxy{
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(target); r.Out.Host = r.In.Host },
		Transport: &http.Transport{MaxIdleConnsPerHost: 64},
		ErrorLog:  log.New(io.Discard, "", 0), // of polls that are cut
	}
	c.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.requests.Add(1)
		forward.ServeHTTP(w, r)
	}))
	q.Set("endpoint", c.server.URL)
	u.RawQuery = q.Encode()
	return c, broker{url: u.String(), endpoint: c.server.URL, direct: target.String(), region: u.Host}, nil
}

func (c *counter) total() float64 { return float64(c.requests.Load()) }

func (c *counter) close() { c.server.Close() }
