package snssqs

import (
	"bytes"
	"io"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// wholeBodies hands net/http request bodies that it knows to be in memory. It writes
// them in one piece with the headers then. The SDK's own reader is written apart, and where
// the answer comes before net/http has looked whether there is more to write, that
// reader, closed by then, breaks the connection under the answer.
type wholeBodies struct{ aws.HTTPClient }

func (c wholeBodies) Do(r *http.Request) (*http.Response, error) {
	if r.Body != nil && r.ContentLength > 0 {
		body := make([]byte, r.ContentLength)
		_, err := io.ReadFull(r.Body, body)
		_ = r.Body.Close()
		if err != nil {
			return nil, err
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
	}
	return c.HTTPClient.Do(r)
}
