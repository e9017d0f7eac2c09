// Social is about readers of different speed: each post goes to feed, notification and
// recommendation, and the last is the slowest there can be. It waits for its model until
// the others have read everything, holds what its limit allows, and then catches up.
//
//	BROKER=kafka go run ./examples/social
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"

	"github.com/waybill-go/waybill/codec"
	_ "github.com/waybill-go/waybill/drivers/gcppubsub"
	_ "github.com/waybill-go/waybill/drivers/kafka"
	_ "github.com/waybill-go/waybill/drivers/memory"
	_ "github.com/waybill-go/waybill/drivers/rabbitmq"
	_ "github.com/waybill-go/waybill/drivers/snssqs"
	"github.com/waybill-go/waybill/examples/internal/ledger"
	"github.com/waybill-go/waybill/pubsub"
	"github.com/waybill-go/waybill/pubsub/config"
)

// Post is an event, post_created.
type Post struct {
	Number int
	Author string
	Text   string
}

func main() {
	file := flag.String("config", "examples/social/social.yaml", "the configuration `file`")
	posts := flag.Int("posts", 500, "how many posts to write, 100 or more")
	flag.Parse()
	if err := run(context.Background(), os.Stdout, *file, max(*posts, 100)); err != nil {
		fmt.Fprintln(os.Stderr, "social:", err)
		os.Exit(1)
	}
}

// run lets people write, and returns an error unless every reader got every post, the
// quick ones while the slow one had none.
func run(ctx context.Context, w io.Writer, file string, posts int) error {
	ctx, cancel := signal.NotifyContext(ctx, os.Interrupt)
	defer cancel()
	cfg, err := config.Load(file)
	if err != nil {
		return err
	}
	client, err := cfg.Client(ctx, ledger.ThisRun()...)
	if err != nil {
		return err
	}
	book := ledger.New(w)
	r, routes, err := openReaders(ctx, client, book, posts)
	if err != nil {
		return errors.Join(err, client.Close(ctx))
	}
	err = ledger.Play(ctx, client, routes, func(ctx context.Context) error {
		if err := write(ctx, client, posts); err != nil {
			return err
		}
		if err := errors.Join(r.feed.Wait(ctx), r.notification.Wait(ctx)); err != nil {
			return err
		}
		if err := r.tell(ctx, w, client); err != nil {
			return err
		}
		close(r.trained)
		return book.Wait(ctx)
	})
	return errors.Join(err, book.Report())
}

// write publishes the posts, a page of them in each call.
func write(ctx context.Context, client *config.Client, posts int) error {
	topic, err := client.Publisher(ctx, "posts")
	if err != nil {
		return err
	}
	created := pubsub.TypedPublisher[Post]{Publisher: topic, Codec: codec.JSON[Post]()}
	authors := []string{"ada", "bob", "cleo"}
	for n := 0; n < posts; {
		var page []Post
		for ; n < posts && len(page) < 50; n++ {
			page = append(page, Post{Number: n + 1, Author: authors[n%len(authors)], Text: "hello"})
		}
		if err := created.Publish(ctx, page...); err != nil {
			return err
		}
	}
	return nil
}
