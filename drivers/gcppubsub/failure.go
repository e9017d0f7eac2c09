package gcppubsub

import (
	"context"
	"errors"
	"io"
	"strings"

	"github.com/googleapis/gax-go/v2/apierror"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/waybill-go/waybill/pubsub/driver"
)

// codeOf is gRPC's code of an error.
func codeOf(err error) codes.Code {
	var e *apierror.APIError
	if errors.As(err, &e) && e.GRPCStatus() != nil {
		return e.GRPCStatus().Code()
	}
	return status.Code(err)
}

// missingProject says whether what was not found is the project itself.
func missingProject(err error) bool {
	return strings.Contains(strings.ToLower(err.Error()), "project not found")
}

// meanings are what gRPC's codes mean. Others are CodeInternal.
var meanings = map[codes.Code]driver.Code{
	codes.InvalidArgument: driver.CodeInvalid, codes.OutOfRange: driver.CodeInvalid,
	codes.NotFound: driver.CodeNotFound, codes.AlreadyExists: driver.CodeConflict, codes.FailedPrecondition: driver.CodeConflict,
	codes.PermissionDenied: driver.CodePermissionDenied, codes.Unauthenticated: driver.CodeUnauthenticated,
	codes.ResourceExhausted: driver.CodeExhausted, codes.Unimplemented: driver.CodeUnsupported,
	codes.Unavailable: driver.CodeUnavailable, codes.DeadlineExceeded: driver.CodeUnavailable,
	codes.Aborted: driver.CodeUnavailable, codes.Canceled: driver.CodeUnavailable,
}

// failure gives Google's errors their codes.
func failure(doing string, err error) error {
	code := meanings[codeOf(err)]
	if codeOf(err) == codes.Unknown && (errors.Is(err, io.EOF) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)) {
		code = driver.CodeUnavailable
	}
	return driver.Wrap(code, "gcppubsub: "+doing, err)
}

// results are Google's of single acknowledgement ids, under exactly-once delivery.
func results(err error) map[string]string {
	var e *apierror.APIError
	if errors.As(err, &e) && e.Reason() == "EXACTLY_ONCE_ACKID_FAILURE" {
		return e.Metadata()
	}
	return nil
}
