package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/waybill-go/waybill/pubsub"
	"github.com/waybill-go/waybill/pubsub/config"
)

// lineBytes is the longest line of a file that is read.
const lineBytes = 64 << 20

// publishing is one run of pub.
type publishing struct {
	format  string
	key     string
	headers map[string]string
	timeout time.Duration

	topic *pubsub.Topic
	bar   *progress

	mu        sync.Mutex
	Published int `json:"published"`
	Failed    int `json:"failed"`
}

// record is a message as a line of JSON.
type record struct {
	ID      string            `json:"id,omitempty"`
	Key     string            `json:"key,omitempty"`
	Headers map[string]string `json:"headers,omitempty"`
	Body    string            `json:"body,omitempty"`
	// Base64 is the body if it is not text.
	Base64 []byte `json:"base64,omitempty"`
}

// added is what sub and dlq show tell of a message beside what is published.
type added struct {
	Topic, Group, Source, Reason, Died, Published json.RawMessage
	Attempt, Attempts, Redriven                   json.RawMessage
}

func newPub(s *settings) *cobra.Command {
	p := &publishing{}
	cmd := &cobra.Command{
		Use:   "pub TOPIC [FILE...]",
		Short: "Publish lines of standard input or of files",
		Long: `Pub publishes each line as a message, in order, and waits until the broker has confirmed all of them.
With --format json, each line is an object with id, key, headers, and body (text) or base64; what
"waybill sub -o json" and "waybill dlq show -o json" print will do, and what they print beside these is
not published. With --format whole, each file is one message. A file named - is standard input.
Messages that fail are named by file and line on standard error, and the exit code is 1.`,
		Example: `  echo '{"order":7}' | waybill pub orders --key ada
  waybill pub orders --format json messages.jsonl`,
		Args:              args(cobra.MinimumNArgs(1)),
		ValidArgsFunction: s.completeFrom((*config.Config).Topics),
		RunE: func(cmd *cobra.Command, list []string) error {
			if p.format != "line" && p.format != "json" && p.format != "whole" {
				return usage(fmt.Errorf("format %q is not one of line, json, whole", p.format))
			}
			_, client, err := s.client(cmd, func(cfg *config.Config) error { return cfg.CheckTopics(list[0]) })
			if err != nil {
				return err
			}
			if p.topic, err = client.Publisher(cmd.Context(), list[0]); err != nil {
				return closed(cmd.Context(), client, err)
			}
			p.bar = newProgress(cmd.ErrOrStderr(), "publishing", 0)
			err = closed(cmd.Context(), client, p.files(cmd.Context(), cmd.InOrStdin(), list[1:]))
			p.bar.end()
			p.mu.Lock()
			defer p.mu.Unlock()
			text := fmt.Sprintf("%d published, %d failed\n", p.Published, p.Failed)
			if p.Failed > 0 && err == nil {
				err = errors.New("not everything was published")
			}
			return errors.Join(err, s.print(cmd.OutOrStdout(), p, text))
		},
	}
	cmd.Flags().StringVar(&p.format, "format", "line", "line, json or whole")
	cmd.Flags().StringVar(&p.key, "key", "", "the key of messages that have none of their own")
	cmd.Flags().StringToStringVar(&p.headers, "header", nil, "name=value, a header of all messages; may be given several times")
	cmd.Flags().DurationVar(&p.timeout, "timeout", time.Minute, "how long a message may wait to be sent")
	return cmd
}

// files publishes each, standard input if there is none.
func (p *publishing) files(ctx context.Context, in io.Reader, names []string) error {
	if len(names) == 0 {
		names = []string{"-"}
	}
	for _, name := range names {
		if name == "-" {
			if err := p.read(ctx, "standard input", in); err != nil {
				return err
			}
			continue
		}
		f, err := os.Open(name) //nolint:gosec // the caller says which
		if err != nil {
			return usage(err)
		}
		if err := errors.Join(p.read(ctx, name, f), f.Close()); err != nil {
			return err
		}
	}
	return nil
}

func (p *publishing) read(ctx context.Context, name string, in io.Reader) error {
	if p.format == "whole" {
		body, err := io.ReadAll(in)
		if err != nil {
			return err
		}
		p.send(ctx, name, &pubsub.Message{Body: body})
		return context.Cause(ctx)
	}
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, lineBytes)
	for n := 1; ctx.Err() == nil && lines.Scan(); n++ {
		m := &pubsub.Message{Body: lines.Bytes()}
		if p.format == "json" {
			var err error
			if m, err = decode(lines.Bytes()); err != nil {
				p.outcome(fmt.Sprintf("%s:%d", name, n), err)
				continue
			}
		}
		p.send(ctx, fmt.Sprintf("%s:%d", name, n), m)
	}
	return errors.Join(context.Cause(ctx), lines.Err())
}

// decode reads a line of JSON.
func decode(line []byte) (*pubsub.Message, error) {
	var r struct {
		record
		added
	}
	d := json.NewDecoder(strings.NewReader(string(line)))
	d.DisallowUnknownFields()
	if err := d.Decode(&r); err != nil {
		return nil, usage(fmt.Errorf("%w; want a JSON object with id, key, headers, and body or base64", err))
	}
	m := &pubsub.Message{ID: r.ID, Key: r.Key, Headers: r.Headers, Body: []byte(r.Body)}
	if len(r.Base64) > 0 && r.Body != "" {
		return nil, usage(errors.New("body and base64 are both given"))
	} else if len(r.Base64) > 0 {
		m.Body = r.Base64
	}
	return m, nil
}

// send publishes without waiting for the outcome; Close of the client waits.
func (p *publishing) send(ctx context.Context, place string, m *pubsub.Message) {
	if m.Key == "" {
		m.Key = p.key
	}
	if len(p.headers) > 0 {
		headers := maps.Clone(p.headers)
		maps.Copy(headers, m.Headers)
		m.Headers = headers
	}
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	p.topic.PublishAsync(ctx, m, func(err error) {
		cancel()
		p.outcome(place, err)
	})
}

func (p *publishing) outcome(place string, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err == nil {
		p.Published++
		p.bar.set(int64(p.Published))
		return
	}
	p.Failed++
	_, _ = fmt.Fprintf(p.bar, "%s: %v\n", place, err) // nobody is left to tell
}

// recordOf is a message as JSON.
func recordOf(m *pubsub.Message) record {
	r := record{ID: m.ID, Key: m.Key, Headers: m.Headers, Body: string(m.Body)}
	if strings.ToValidUTF8(r.Body, "") != r.Body {
		r.Body, r.Base64 = "", m.Body
	}
	return r
}
