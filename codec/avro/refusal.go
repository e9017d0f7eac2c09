package avro

import (
	"errors"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/sr"

	"github.com/waybill-go/waybill/codec"
)

// refusal is an error of a registry, or of the way to it.
type refusal struct {
	doing       string
	unavailable bool
	err         error
}

// refused makes an error of a registry's. Where it answered with one of these states, asking
// again does not help. Its own 404 has a code of five digits: another one is of a wrong path.
func refused(err error, doing string, final ...int) error {
	if err == nil {
		return nil
	}
	var answered *sr.ResponseError
	told := errors.As(err, &answered) && answered.ErrorCode != 0 && answered.ErrorCode != http.StatusNotFound && slices.Contains(final, answered.StatusCode)
	return &refusal{doing, !told, err}
}

// textBytes is how much of an error's text is told: it may be a page of HTML.
const textBytes = 300

// credentials are those in a URL.
var credentials = regexp.MustCompile(`://[^/@\s"]*@`)

func (e *refusal) Error() string {
	text := credentials.ReplaceAllString(e.err.Error(), "://")
	if len(text) > textBytes {
		text = strings.ToValidUTF8(text[:textBytes], "") + "..."
	}
	if e.unavailable {
		text = codec.ErrUnavailable.Error() + ": " + text
	}
	return "avro: " + e.doing + ": " + text
}

// Unwrap returns the cause, and codec.ErrUnavailable where it passes.
func (e *refusal) Unwrap() []error {
	if e.unavailable {
		return []error{codec.ErrUnavailable, e.err}
	}
	return []error{e.err}
}
