package kafka

import (
	"context"
	"crypto/tls"
	"errors"
	"net"

	"github.com/IBM/sarama"

	"github.com/waybill-go/waybill/pubsub/driver"
)

// codes sorts what brokers answer. What is not listed may heal by waiting.
var codes = map[driver.Code][]sarama.KError{
	driver.CodeNotFound: {sarama.ErrUnknownTopicOrPartition, sarama.ErrGroupIDNotFound},
	driver.CodeConflict: {sarama.ErrTopicAlreadyExists, sarama.ErrInconsistentGroupProtocol, sarama.ErrNonEmptyGroup, sarama.ErrFencedInstancedId},
	driver.CodeUnauthenticated: {
		sarama.ErrSASLAuthenticationFailed, sarama.ErrUnsupportedSASLMechanism, sarama.ErrIllegalSASLState,
	},
	driver.CodePermissionDenied: {
		sarama.ErrTopicAuthorizationFailed, sarama.ErrGroupAuthorizationFailed, sarama.ErrClusterAuthorizationFailed,
		sarama.ErrTransactionalIDAuthorizationFailed, sarama.ErrPolicyViolation,
	},
	driver.CodeTooLarge: {sarama.ErrMessageSizeTooLarge, sarama.ErrMessageSetSizeTooLarge, sarama.ErrOffsetMetadataTooLarge},
	driver.CodeInvalid: {
		sarama.ErrInvalidTopic, sarama.ErrInvalidPartitions, sarama.ErrInvalidReplicationFactor, sarama.ErrInvalidReplicaAssignment,
		sarama.ErrInvalidConfig, sarama.ErrInvalidGroupId, sarama.ErrInvalidRecord, sarama.ErrInvalidTimestamp,
		sarama.ErrInvalidSessionTimeout, sarama.ErrInvalidMessage, sarama.ErrUnsupportedCompressionType,
	},
	driver.CodeUnsupported: {sarama.ErrUnsupportedVersion, sarama.ErrUnsupportedForMessageFormat},
	driver.CodeExhausted:   {sarama.ErrThrottlingQuotaExceeded},
}

// hints say what to do next about answers that do not.
var hints = map[sarama.KError]string{
	sarama.ErrInconsistentGroupProtocol: "the group has members that share partitions in another way; give all the same balance, or choose another group",
	sarama.ErrFencedInstancedId:         "another member of the group has the same instance; give each its own",
	sarama.ErrInvalidReplicationFactor:  "there are fewer brokers than replicas asked for",
}

// classify gives an error of the client its code; nil stays nil.
func classify(doing string, err error) error {
	if err == nil {
		return nil
	}
	var config sarama.ConfigurationError
	var certificate *tls.CertificateVerificationError
	var network *net.OpError
	code, k := codeOf(err)
	if hint := hints[k]; hint != "" {
		doing += ": " + hint
	}
	switch {
	case k != sarama.ErrNoError:
		return driver.Wrap(code, doing, err)
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return driver.Wrap(driver.CodeCanceled, doing, err)
	case errors.As(err, &certificate), errors.As(err, &network) && network.Op == "remote error": // an alert of TLS
		return driver.Wrap(driver.CodeUnauthenticated, doing, err)
	case errors.As(err, &config):
		return driver.Wrap(driver.CodeInvalid, doing, err)
	case errors.Is(err, sarama.ErrClosedClient), errors.Is(err, sarama.ErrClosedConsumerGroup):
		return driver.Wrap(driver.CodeClosed, doing, err)
	default:
		return driver.Wrap(driver.CodeUnavailable, doing, err)
	}
}

// codeOf finds what a broker answered, if anything that is listed. sarama hides some
// answers from errors.As, among them a failed login.
func codeOf(err error) (driver.Code, sarama.KError) {
	for code, list := range codes {
		for _, k := range list {
			if errors.Is(err, k) {
				return code, k
			}
		}
	}
	return driver.CodeUnavailable, sarama.ErrNoError
}

func errorf(code driver.Code, format string, args ...any) error {
	return driver.Errorf(code, "kafka: "+format, args...)
}
