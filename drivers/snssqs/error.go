package snssqs

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/waybill-go/waybill/pubsub/driver"
)

// codes are what Amazon's error codes mean. Both services' own names are here, and those that
// SQS gives beside them, which the SDK prefers: they are older, and some are quite others.
var codes = func() map[string]driver.Code {
	all := map[string]driver.Code{}
	for code, names := range map[driver.Code]string{
		driver.CodePermissionDenied: `AccessDenied AccessDeniedException AuthorizationError NotAuthorized
			KmsAccessDenied KMSAccessDenied KMSAccessDeniedException KMS.AccessDeniedException`,
		driver.CodeUnauthenticated: `InvalidClientTokenId UnrecognizedClientException SignatureDoesNotMatch InvalidSignatureException
			IncompleteSignature IncompleteSignatureException MissingAuthenticationToken MissingAuthenticationTokenException
			InvalidAccessKeyId AuthFailure OptInRequired`,
		driver.CodeNotFound: `QueueDoesNotExist AWS.SimpleQueueService.NonExistentQueue NotFound NotFoundException
			ResourceNotFound ResourceNotFoundException`,
		driver.CodeConflict: `QueueNameExists QueueAlreadyExists`,
		// OverLimit are too many messages in flight, the other limits those of an account.
		driver.CodeExhausted: `RequestThrottled RequestThrottledException Throttling ThrottlingException ThrottledException Throttled
			TooManyRequestsException RequestLimitExceeded BandwidthLimitExceeded LimitExceededException SlowDown PriorRequestNotComplete
			OverLimit TopicLimitExceeded SubscriptionLimitExceeded
			KmsThrottled KMSThrottling KMSThrottlingException KMS.ThrottlingException`,
		driver.CodeTooLarge:    `BatchRequestTooLong AWS.SimpleQueueService.BatchRequestTooLong`,
		driver.CodeUnsupported: `UnsupportedOperation AWS.SimpleQueueService.UnsupportedOperation`,
		// The name of a queue that was deleted is free after a minute.
		driver.CodeUnavailable: `QueueDeletedRecently AWS.SimpleQueueService.QueueDeletedRecently ConcurrentAccess
			RequestTimeout RequestTimeoutException RequestExpired RequestTimeTooSkewed InternalError InternalFailure ServiceUnavailable`,
		driver.CodeLost: `ReceiptHandleIsInvalid InvalidIdFormat MessageNotInflight AWS.SimpleQueueService.MessageNotInflight`,
	} {
		for name := range strings.FieldsSeq(names) {
			all[name] = code
		}
	}
	return all
}()

// texts are what Amazon's texts mean where the code is that of any invalid parameter.
var texts = []struct {
	part string
	code driver.Code
}{
	{"must be shorter than", driver.CodeTooLarge},
	{"Message too long", driver.CodeTooLarge},
	{"already exists with different", driver.CodeConflict}, // attributes or tags
	{"parameter ReceiptHandle is invalid", driver.CodeLost},
	{"receipt handle has expired", driver.CodeLost},
	{"not available for visibility timeout change", driver.CodeLost},
}

// expired are the codes of credentials whose time is over: others are fetched, and then
// it works.
var expired = map[string]bool{"ExpiredToken": true, "ExpiredTokenException": true}

// fail gives an error of Amazon's its code, and a text that says which action
// failed on what.
func (c *conn) fail(action, on string, err error) error {
	var api smithy.APIError
	what := action + " on " + on
	switch {
	case err == nil:
		return nil
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return driver.Wrap(driver.CodeUnavailable, what, err)
	case unsigned(err):
		return driver.Wrap(unsignedCode(err), what+": no credentials", err)
	case !errors.As(err, &api):
		return driver.Wrap(driver.CodeUnavailable, what, err)
	}
	name := api.ErrorCode()
	switch code := codeFor(name, api.ErrorMessage(), status(err)); {
	case expired[name]:
		return c.renew(what, name)
	case skewed(err):
		return driver.Wrap(driver.CodeUnavailable, what+": this clock differs from Amazon's, going by theirs", errors.New(name))
	case code == driver.CodePermissionDenied && strings.HasPrefix(strings.ToUpper(name), "KMS"):
		return driver.Wrap(code, what+": the KMS key may not be used: its policy and the caller's must allow it", err)
	case code == driver.CodePermissionDenied:
		return driver.Wrap(code, what+" is not allowed: a policy must allow it", err)
	case code == driver.CodeUnauthenticated:
		// The server's text may repeat what was signed.
		return driver.Wrap(code, what+": credentials are not accepted: check key, account and region", errors.New(name))
	case code == driver.CodeNotFound:
		return driver.Wrap(code, on+" does not exist", err)
	default:
		return driver.Wrap(code, what, err)
	}
}

// renew has credentials fetched again. Those that were given as they are stay expired.
func (c *conn) renew(what, name string) error {
	if c.cache == nil || c.cache.IsCredentialsProvider(credentials.StaticCredentialsProvider{}) {
		return driver.Wrap(driver.CodeUnauthenticated, what+": the session token has expired: set another, or name a profile or role that is renewed", errors.New(name))
	}
	c.cache.Invalidate()
	return driver.Wrap(driver.CodeUnavailable, what+": credentials have expired, fetching others", errors.New(name))
}

func codeFor(name, text string, status int) driver.Code {
	code, known := codes[name]
	switch {
	case known:
		return code
	case status >= http.StatusInternalServerError || status == 0 || status == http.StatusRequestTimeout:
		return driver.CodeUnavailable
	case status == http.StatusTooManyRequests:
		return driver.CodeExhausted
	}
	for _, t := range texts {
		if strings.Contains(text, t.part) {
			return t.code
		}
	}
	return driver.CodeInvalid
}

// skewed says whether Amazon refused a signature because the clocks differ. The SDK knows, and
// goes by Amazon's from then on.
func skewed(err error) bool {
	var skew interface{ RetryableError() bool }
	return errors.As(err, &skew) && skew.RetryableError()
}

// resign is an aws.Retryer that has a request signed again which a skewed clock signed. The
// engine tries everything else again, and it alone.
type resign struct{ aws.NopRetryer }

func (resign) MaxAttempts() int                             { return 2 }
func (resign) IsErrorRetryable(err error) bool              { return skewed(err) }
func (resign) RetryDelay(int, error) (time.Duration, error) { return 0, nil }
func (resign) GetRetryToken(context.Context, error) (func(error) error, error) {
	return func(error) error { return nil }, nil
}

// unsigned says whether a request could not be signed, for want of credentials.
func unsigned(err error) bool {
	var request *smithy.OperationError
	return errors.As(err, &request) && (fetching(err) || notSent(err) && !dialing(err))
}

// fetching says whether it was another request that failed, which was to bring credentials.
func fetching(err error) bool {
	var request, credentials *smithy.OperationError
	return errors.As(err, &request) && errors.As(request.Err, &credentials)
}

// unsignedCode says whether credentials may come yet: whoever gives them may be away for a
// while, or refuse.
func unsignedCode(err error) driver.Code {
	var response *smithyhttp.ResponseError
	var api smithy.APIError
	switch {
	case dialing(err), errors.As(err, &response) && response.HTTPStatusCode() >= http.StatusInternalServerError:
		return driver.CodeUnavailable
	case !errors.As(err, &api):
		return driver.CodeUnauthenticated
	}
	if code, known := codes[api.ErrorCode()]; known && code.Heals() || api.ErrorFault() == smithy.FaultServer {
		return driver.CodeUnavailable
	}
	return driver.CodeUnauthenticated
}

// status is that of an answer; an entry of a batch has none of its own, but says whose
// fault it is.
func status(err error) int {
	var response *awshttp.ResponseError
	var api smithy.APIError
	switch {
	case errors.As(err, &response):
		return response.HTTPStatusCode()
	case errors.As(err, &api) && api.ErrorFault() == smithy.FaultClient:
		return http.StatusBadRequest
	default:
		return 0
	}
}

func dialing(err error) bool {
	var op *net.OpError
	var dns *net.DNSError
	return errors.As(err, &op) && op.Op == "dial" || errors.As(err, &dns)
}

// notSent says whether a request surely did not reach Amazon.
func notSent(err error) bool {
	var sent *smithy.DeserializationError
	var send *smithyhttp.RequestSendError
	var response *awshttp.ResponseError
	return dialing(err) || fetching(err) || !errors.As(err, &sent) && !errors.As(err, &send) && !errors.As(err, &response) &&
		!errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded)
}
