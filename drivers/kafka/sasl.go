package kafka

import (
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"fmt"
	"time"

	"github.com/IBM/sarama"
	"github.com/xdg-go/scram"

	"github.com/waybill-go/waybill/pubsub/driver"
)

// SASL is how a connection says who it is.
type SASL struct {
	// Mechanism is PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER.
	Mechanism string
	// User and Password are for all but OAUTHBEARER.
	User, Password string
	// Token returns a token that is good for now, for OAUTHBEARER. It should keep one
	// until it expires.
	Token func(context.Context) (string, error)
}

// The mechanisms.
const (
	plain       = "PLAIN"
	scramSHA256 = "SCRAM-SHA-256"
	scramSHA512 = "SCRAM-SHA-512"
	oauthBearer = "OAUTHBEARER"
)

func (s *SASL) check() error {
	if s == nil {
		return nil
	}
	switch s.Mechanism {
	case plain, scramSHA256, scramSHA512:
		if s.User == "" || s.Password == "" {
			return driver.Errorf(driver.CodeInvalid, "kafka: SASL %s needs a user and a password", s.Mechanism)
		}
	case oauthBearer:
		if s.Token == nil {
			return driver.Errorf(driver.CodeInvalid, "kafka: SASL OAUTHBEARER needs a token function: set Config.SASL.Token, which a URL cannot")
		}
	default:
		return driver.Errorf(driver.CodeInvalid,
			"kafka: SASL mechanism %q is unknown; want %s, %s, %s or %s", s.Mechanism, plain, scramSHA256, scramSHA512, oauthBearer)
	}
	return nil
}

func (s *SASL) apply(to *sarama.Config) {
	if s == nil {
		return
	}
	sasl := &to.Net.SASL
	sasl.Enable = true
	sasl.Mechanism = sarama.SASLMechanism(s.Mechanism)
	sasl.User, sasl.Password = s.User, s.Password
	switch s.Mechanism {
	case scramSHA256:
		sasl.SCRAMClientGeneratorFunc = func() sarama.SCRAMClient { return &exchange{hash: sha256.New} }
	case scramSHA512:
		sasl.SCRAMClientGeneratorFunc = func() sarama.SCRAMClient { return &exchange{hash: sha512.New} }
	case oauthBearer:
		sasl.TokenProvider = tokens{token: s.Token, timeout: to.Net.DialTimeout}
	}
}

// exchange is one SCRAM conversation.
type exchange struct {
	hash scram.HashGeneratorFcn
	*scram.ClientConversation
}

// Begin starts the conversation.
func (e *exchange) Begin(user, password, authorization string) error {
	client, err := e.hash.NewClient(user, password, authorization)
	if err == nil {
		e.ClientConversation = client.NewConversation()
	}
	return err
}

// tokens asks the user's function.
type tokens struct {
	token   func(context.Context) (string, error)
	timeout time.Duration
}

// Token returns a token for one connection.
func (t tokens) Token() (*sarama.AccessToken, error) {
	ctx, cancel := context.WithTimeout(context.Background(), t.timeout)
	defer cancel()
	token, err := t.token(ctx)
	if err != nil {
		return nil, fmt.Errorf("token function: %w", err)
	}
	return &sarama.AccessToken{Token: token}, nil
}
