package snssqs

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go/logging"

	"github.com/waybill-go/waybill/pubsub/driver"
)

// Client is what pubsub.Client.Raw gives: Amazon's own clients, without retries.
type Client struct {
	SNS *sns.Client
	SQS *sqs.Client
}

// requestTimeout is how long an answer may take, beyond what a poll waits.
const requestTimeout = 20 * time.Second

// conn is two clients. HTTP connections come and go beneath it and nothing dies with
// them, so it lives until it is closed.
type conn struct {
	driver.Life
	config Config
	region string
	sns    *sns.Client
	sqs    *sqs.Client
	sts    *sts.Client
	cache  *aws.CredentialsCache
	hangUp func()       // closes connections
	counts driver.Tally // corrects Amazon's receive counts of what was returned, or tried several times
	deaths driver.Tally // how often dead letters of SQS's own were received before

	mu      sync.Mutex
	account string
	young   map[string]time.Time // what was made here, and when
}

var errClosed error = driver.Errorf(driver.CodeClosed, "snssqs: closed")

// Open loads the configuration, fetches credentials and asks SQS one thing.
func (d *Driver) Open(ctx context.Context) (driver.Conn, error) {
	loaded, hangUp, err := d.load(ctx)
	if err != nil {
		hangUp()
		return nil, err
	}
	c := &conn{Life: driver.NewLife(nil), config: d.config, region: loaded.Region, account: d.config.Account, hangUp: hangUp}
	if err := c.connect(ctx, loaded); err != nil {
		hangUp()
		return nil, err
	}
	return c, nil
}

// load finds region and credentials. It also returns what closes connections:
// goroutines are behind them.
func (d *Driver) load(ctx context.Context) (loaded aws.Config, hangUp func(), err error) {
	hangUp = func() {}
	if d.config.AWS != nil {
		loaded = d.config.AWS.Copy()
	} else {
		loaded, err = config.LoadDefaultConfig(ctx, config.WithSharedConfigProfile(d.config.Profile),
			func(o *config.LoadOptions) error {
				o.Credentials = d.config.Credentials
				o.Logger = logging.Nop{} // it would write to standard error; what matters comes as an error
				return nil
			})
		if err != nil {
			return loaded, hangUp, driver.Wrap(driver.CodeInvalid, "snssqs: load configuration", err)
		}
	}
	client, ours := loaded.HTTPClient.(*awshttp.BuildableClient)
	if loaded.HTTPClient == nil {
		client, ours = awshttp.NewBuildableClient(), true
	}
	if ours {
		var dials dials
		loaded.HTTPClient = client.WithTransportOptions(func(t *http.Transport) {
			t.MaxIdleConns, t.MaxIdleConnsPerHost = 0, 4*d.config.Parallel
			t.DialContext = dials.through(t.DialContext)
		}).Freeze()
		hangUp = dials.close
	}
	loaded.HTTPClient = wholeBodies{loaded.HTTPClient}
	loaded.Region = or(d.config.Region, loaded.Region)
	if d.config.Credentials != nil {
		loaded.Credentials = d.config.Credentials
	}
	if d.config.Endpoint != "" {
		loaded.BaseEndpoint = &d.config.Endpoint
	}
	loaded.Retryer = func() aws.Retryer { return resign{} }
	if loaded.Region == "" {
		return loaded, hangUp, invalid("no region: give it in the URL, as in snssqs://eu-west-1, or in AWS_REGION or the profile")
	}
	if loaded.Credentials == nil {
		return loaded, hangUp, driver.Errorf(driver.CodeUnauthenticated, "snssqs: no credentials: %s", howToSignIn)
	}
	return loaded, hangUp, nil
}

const howToSignIn = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, name a profile, or run where a role is attached"

func (c *conn) connect(ctx context.Context, loaded aws.Config) error {
	cache, cached := loaded.Credentials.(*aws.CredentialsCache)
	if !cached {
		cache = aws.NewCredentialsCache(loaded.Credentials)
		loaded.Credentials = cache
	}
	c.cache = cache
	got, err := cache.Retrieve(ctx)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		return driver.Wrap(driver.CodeUnauthenticated, "snssqs: no credentials: "+howToSignIn, err)
	}
	c.account = or(c.account, got.AccountID)
	if c.account == "" && c.config.Endpoint != "" {
		c.account = "000000000000"
	}
	c.sns, c.sqs, c.sts = sns.NewFromConfig(loaded), sqs.NewFromConfig(loaded), sts.NewFromConfig(loaded)
	_, err = c.sqs.ListQueues(ctx, &sqs.ListQueuesInput{QueueNamePrefix: aws.String("waybill-"), MaxResults: aws.Int32(1)})
	err = c.fail("sqs:ListQueues", c.region, err)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if driver.CodeOf(err) == driver.CodePermissionDenied {
		return nil // it was reached; what is needed shows in use
	}
	return err
}

func (c *conn) Capabilities() driver.Capabilities { return c.config.capabilities(c.region) }

// Client returns a *Client.
func (c *conn) Client() any { return &Client{SNS: c.sns, SQS: c.sqs} }

func (c *conn) Close(context.Context) error {
	c.End(errClosed)
	c.hangUp()
	return nil
}

// number returns the account's number.
func (c *conn) number(ctx context.Context) (string, error) {
	c.mu.Lock()
	account := c.account
	c.mu.Unlock()
	if account != "" {
		return account, nil
	}
	out, err := c.sts.GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil {
		return "", c.fail("sts:GetCallerIdentity", "the account (name it with account=)", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.account = aws.ToString(out.Account)
	return c.account, nil
}

// settles is how long Amazon may take until all of it knows of a change.
const settles = time.Minute

// made notes that something is made now.
func (c *conn) made(what string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	maps.DeleteFunc(c.young, func(_ string, at time.Time) bool { return time.Since(at) > settles })
	if c.young == nil {
		c.young = map[string]time.Time{}
	}
	c.young[what] = time.Now()
}

// patient says of something in use that it does not exist, unless it was made here just now:
// then some of Amazon does not know it yet.
func (c *conn) patient(what string, err error) error {
	if driver.CodeOf(err) != driver.CodeNotFound {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if at, ok := c.young[what]; ok && time.Since(at) < settles {
		return driver.Wrap(driver.CodeUnavailable, what+" was made just now", err)
	}
	return err
}

// arn names a topic or queue of this account.
func (c *conn) arn(account, service, name string) string {
	return strings.Join([]string{"arn", partitionOf(c.region).name, service, c.region, account, name}, ":")
}

// url is the address of a queue of this account.
func (c *conn) url(account, name string) string {
	base := c.config.Endpoint
	if base == "" {
		base = "https://sqs." + c.region + "." + partitionOf(c.region).domain
	}
	return strings.TrimSuffix(base, "/") + "/" + account + "/" + name
}

// Backlog asks SQS for its counts, which are approximate.
func (c *conn) Backlog(ctx context.Context, r driver.SubscribeRequest) (driver.Backlog, error) {
	p, err := c.plan(ctx, &r)
	if err != nil {
		return driver.Backlog{}, err
	}
	attributes, err := c.attributes(ctx, p.queue)
	if err != nil {
		return driver.Backlog{}, err
	}
	number := func(name types.QueueAttributeName) int64 {
		n, _ := strconv.ParseInt(attributes[string(name)], 10, 64)
		return n
	}
	return driver.Backlog{
		Ready: number(types.QueueAttributeNameApproximateNumberOfMessages) +
			number(types.QueueAttributeNameApproximateNumberOfMessagesDelayed),
		Unsettled: number(types.QueueAttributeNameApproximateNumberOfMessagesNotVisible),
	}, nil
}

func quoted(what, name string) string { return fmt.Sprintf("%s %q", what, name) }
