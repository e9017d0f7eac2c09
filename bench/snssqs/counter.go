package main

import (
	"bytes"
	"encoding/json"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
)

// A tally counts requests, and tells of messages that are deleted.
type tally struct {
	requests atomic.Int64
	deletion atomic.Pointer[func()]
}

func (t *tally) total() float64 { return float64(t.requests.Load()) }

// onDelete has a function called for each message that is deleted from now on.
func (t *tally) onDelete(call func()) { t.deletion.Store(&call) }

func (t *tally) deleted(n int) {
	if call := t.deletion.Load(); call != nil {
		for range n {
			(*call)()
		}
	}
}

// counter is a proxy with a tally.
type counter struct {
	tally
	server *httptest.Server
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
		Rewrite:        func(r *httputil.ProxyRequest) { r.SetURL(target); r.Out.Host = r.In.Host },
		Transport:      &http.Transport{MaxIdleConnsPerHost: 64},
		ErrorLog:       log.New(io.Discard, "", 0), // of polls that are cut
		ModifyResponse: c.read,
	}
	c.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.requests.Add(1)
		forward.ServeHTTP(w, r)
	}))
	q.Set("endpoint", c.server.URL)
	u.RawQuery = q.Encode()
	return c, broker{url: u.String(), endpoint: c.server.URL, direct: target.String(), region: u.Host}, nil
}

// read counts what was deleted by an answer.
func (c *counter) read(r *http.Response) error {
	if r.StatusCode != http.StatusOK {
		return nil
	}
	switch action(r.Request) {
	case "DeleteMessage":
		c.deleted(1)
	case "DeleteMessageBatch":
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return err
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		var out struct{ Successful []struct{} }
		if err := json.Unmarshal(body, &out); err != nil {
			return err
		}
		c.deleted(len(out.Successful))
	}
	return nil
}

// action is what a request asks of SQS.
func action(r *http.Request) string {
	return strings.TrimPrefix(r.Header.Get("X-Amz-Target"), "AmazonSQS.")
}

func (c *counter) close() { c.server.Close() }
