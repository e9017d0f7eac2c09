package snssqs_test

import (
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"
)

// TestCloseEndsConnections: a connection that is kept alive for the next request ends with
// the driver's, whatever the server does.
func TestCloseEndsConnections(t *testing.T) {
	t.Parallel()
	ended := make(chan struct{}, 10)
	amazon := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("{}")) }))
	amazon.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateClosed {
			ended <- struct{}{}
		}
	}
	amazon.Start()
	defer amazon.Close()
	conn, err := drive(t, "snssqs://us-east-1?access-key=test&secret-key=test&endpoint="+url.QueryEscape(amazon.URL)).Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	select {
	case <-ended:
	case <-time.After(10 * time.Second):
		t.Error("the connection is open still")
	}
}
