package gcppubsub_test

import (
	"context"
	"crypto/rand"
	"strings"
	"testing"
	"time"

	"github.com/waybill-go/waybill/pubsub"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// unique makes a part of a name that no other test has.
func unique() string { return strings.ToLower(rand.Text()[:10]) }

// until waits for a body.
func until(t testing.TB, got <-chan string, want string) {
	t.Helper()
	timeout := time.After(time.Minute)
	for {
		select {
		case body := <-got:
			if body == want {
				return
			}
		case <-timeout:
			t.Fatalf("%q did not come within a minute", want)
		}
	}
}

func closing(t testing.TB, client *pubsub.Client) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	must(t, client.Close(ctx))
}

// fails wants an error with a code and these words.
func fails(t *testing.T, err error, code pubsub.Code, words ...string) {
	t.Helper()
	if err == nil || pubsub.CodeOf(err) != code {
		t.Errorf("got %v (code %s), want code %s", err, pubsub.CodeOf(err), code)
		return
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%q does not say %q", err, w)
		}
	}
}
