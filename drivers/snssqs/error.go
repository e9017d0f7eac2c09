package snssqs

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/waybill-go/waybill/pubsub/driver"
)

// codes are what Amazon's error codes mean.
var codes = map[string]driver.Code{
	"AccessDenied": driver.CodePermissionDenied, "AccessDeniedException": driver.CodePermissionDenied,
	"AuthorizationError": driver.CodePermissionDenied, "KmsAccessDenied": driver.CodePermissionDenied,
	"KMSAccessDenied": driver.CodePermissionDenied, "KMSAccessDeniedException": driver.CodePermissionDenied,

	"InvalidClientTokenId": driver.CodeUnauthenticated, "UnrecognizedClientException": driver.CodeUnauthenticated,
	"SignatureDoesNotMatch": driver.CodeUnauthenticated, "MissingAuthenticationToken": driver.CodeUnauthenticated,
	"MissingAuthenticationTokenException": driver.CodeUnauthenticated, "InvalidAccessKeyId": driver.CodeUnauthenticated,
	"IncompleteSignature": driver.CodeUnauthenticated, "OptInRequired": driver.CodeUnauthenticated,

	"QueueDoesNotExist": driver.CodeNotFound, "AWS.SimpleQueueService.NonExistentQueue": driver.CodeNotFound,
	"NotFound": driver.CodeNotFound, "NotFoundException": driver.CodeNotFound, "ResourceNotFoundException": driver.CodeNotFound,

	"QueueNameExists": driver.CodeConflict, "QueueAlreadyExists": driver.CodeConflict,

	"RequestThrottled": driver.CodeExhausted, "Throttling": driver.CodeExhausted, "ThrottlingException": driver.CodeExhausted,
	"ThrottledException": driver.CodeExhausted, "Throttled": driver.CodeExhausted, "TooManyRequestsException": driver.CodeExhausted,
	"RequestLimitExceeded": driver.CodeExhausted, "OverLimit": driver.CodeExhausted, "KmsThrottled": driver.CodeExhausted,
	"KMSThrottling": driver.CodeExhausted, "SlowDown": driver.CodeExhausted,

	"BatchRequestTooLong": driver.CodeTooLarge, "AWS.SimpleQueueService.BatchRequestTooLong": driver.CodeTooLarge,

	"ReceiptHandleIsInvalid": driver.CodeLost, "MessageNotInflight": driver.CodeLost,
	"AWS.SimpleQueueService.MessageNotInflight": driver.CodeLost,
}

// expired are the codes of credentials whose time is over: others are fetched, and then
// it works.
var expired = map[string]bool{"ExpiredToken": true, "ExpiredTokenException": true, "RequestExpired": true}

// fail gives an error of Amazon's its code, and a text that says which action
// failed on what.
func (c *conn) fail(action, on string, err error) error {
	var api smithy.APIError
	switch {
	case err == nil:
		return nil
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return driver.Wrap(driver.CodeUnavailable, action+" on "+on, err)
	case !errors.As(err, &api):
		var signing *smithy.OperationError
		if errors.As(err, &signing) && notSent(err) && !dialing(err) {
			return driver.Wrap(driver.CodeUnauthenticated, action+" on "+on+": no credentials", err)
		}
		return driver.Wrap(driver.CodeUnavailable, action+" on "+on, err)
	}
	name := api.ErrorCode()
	if expired[name] {
		if c.cache != nil {
			c.cache.Invalidate()
		}
		return driver.Wrap(driver.CodeUnavailable, action+" on "+on+": credentials have expired, fetching others", errors.New(name))
	}
	switch code := entryCode(name, status(err)); code {
	case driver.CodePermissionDenied:
		return driver.Wrap(code, fmt.Sprintf("%s on %s is not allowed: a policy must allow it", action, on), err)
	case driver.CodeUnauthenticated:
		// The server's text may repeat what was signed.
		return driver.Wrap(code, fmt.Sprintf("%s on %s: credentials are not accepted: check key, account and region", action, on), errors.New(name))
	case driver.CodeNotFound:
		return driver.Wrap(code, on+" does not exist", err)
	default:
		return driver.Wrap(code, action+" on "+on, err)
	}
}

func entryCode(name string, status int) driver.Code {
	code, known := codes[name]
	switch {
	case known:
		return code
	case status >= http.StatusInternalServerError || status == 0:
		return driver.CodeUnavailable
	case status == http.StatusTooManyRequests:
		return driver.CodeExhausted
	default:
		return driver.CodeInvalid
	}
}

func status(err error) int {
	var response *awshttp.ResponseError
	if errors.As(err, &response) {
		return response.HTTPStatusCode()
	}
	return 0
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
	return dialing(err) || !errors.As(err, &sent) && !errors.As(err, &send) && !errors.As(err, &response) &&
		!errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded)
}
