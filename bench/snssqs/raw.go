package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
)

const (
	goroutines = 16
	batch      = 10
)

// A broker is where contenders connect: directly, or through the proxy that counts.
type broker struct{ url, endpoint, direct, region string }

// config is Amazon's configuration for an endpoint of the broker.
func (b broker) config(endpoint string) aws.Config {
	return aws.Config{
		Region: b.region, BaseEndpoint: &endpoint,
		Credentials: aws.NewCredentialsCache(credentials.NewStaticCredentialsProvider("test", "test", "")),
		HTTPClient: awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) {
			t.MaxIdleConnsPerHost = 4 * goroutines
		}),
	}
}

func (b broker) client(endpoint string) *sqs.Client { return sqs.NewFromConfig(b.config(endpoint)) }

// makeQueue makes a queue, past the proxy.
func (b broker) makeQueue(ctx context.Context) (name string, remove func() error, err error) {
	name = "bench-" + strings.ToLower(rand.Text()[:10])
	c := b.client(b.direct)
	out, err := c.CreateQueue(ctx, &sqs.CreateQueueInput{QueueName: &name})
	if err != nil {
		return "", nil, err
	}
	return name, func() error {
		_, err := c.DeleteQueue(ctx, &sqs.DeleteQueueInput{QueueUrl: out.QueueUrl})
		return err
	}, nil
}

// fill publishes what is consumed later, past the proxy.
func (b broker) fill(ctx context.Context, queue string, n int) error {
	r := &rawQueue{client: b.client(b.direct)}
	if err := r.find(ctx, queue); err != nil {
		return err
	}
	return r.publish(ctx, n)
}

// rawQueue is Amazon's client as a careful programmer uses it.
type rawQueue struct {
	client *sqs.Client
	url    *string
	cancel context.CancelFunc
	wait   sync.WaitGroup
	failed atomic.Pointer[error]
}

func openRaw(ctx context.Context, b broker, queue string) (actor, error) {
	r := &rawQueue{client: b.client(b.endpoint)}
	return r, r.find(ctx, queue)
}

func (r *rawQueue) find(ctx context.Context, queue string) error {
	out, err := r.client.GetQueueUrl(ctx, &sqs.GetQueueUrlInput{QueueName: &queue})
	if err != nil {
		return err
	}
	r.url = out.QueueUrl
	return nil
}

var errPart = errors.New("a part of a batch failed")

func (r *rawQueue) publish(ctx context.Context, n int) error {
	body := strings.Repeat("x", bodySize)
	var left atomic.Int64
	left.Store(int64(n))
	var wait sync.WaitGroup
	errs := make(chan error, goroutines)
	for range goroutines {
		wait.Go(func() {
			for {
				size := min(batch, left.Add(-batch)+batch)
				if size <= 0 {
					return
				}
				in := &sqs.SendMessageBatchInput{QueueUrl: r.url}
				for i := range size {
					in.Entries = append(in.Entries, types.SendMessageBatchRequestEntry{Id: aws.String(fmt.Sprint(i)), MessageBody: &body})
				}
				out, err := r.client.SendMessageBatch(ctx, in)
				if err == nil && len(out.Failed) > 0 {
					err = errPart
				}
				if err != nil {
					errs <- err
					return
				}
			}
		})
	}
	wait.Wait()
	close(errs)
	return <-errs
}

func (r *rawQueue) consume(ctx context.Context) error {
	ctx, r.cancel = context.WithCancel(ctx)
	for range goroutines {
		r.wait.Go(func() {
			for ctx.Err() == nil {
				if err := r.take(ctx); err != nil && ctx.Err() == nil {
					r.failed.Store(&err)
					return
				}
			}
		})
	}
	return nil
}

// take receives a batch and deletes it.
func (r *rawQueue) take(ctx context.Context) error {
	out, err := r.client.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{QueueUrl: r.url, MaxNumberOfMessages: batch, WaitTimeSeconds: 1})
	if err != nil || len(out.Messages) == 0 {
		return err
	}
	in := &sqs.DeleteMessageBatchInput{QueueUrl: r.url}
	for i, m := range out.Messages {
		in.Entries = append(in.Entries, types.DeleteMessageBatchRequestEntry{Id: aws.String(fmt.Sprint(i)), ReceiptHandle: m.ReceiptHandle})
	}
	deleted, err := r.client.DeleteMessageBatch(ctx, in)
	if err == nil && len(deleted.Failed) > 0 {
		err = errPart
	}
	return err
}

func (r *rawQueue) close(context.Context) error {
	if r.cancel != nil {
		r.cancel()
		r.wait.Wait()
	}
	if err := r.failed.Load(); err != nil {
		return *err
	}
	return nil
}
