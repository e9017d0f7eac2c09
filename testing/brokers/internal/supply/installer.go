package supply

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/waybill-go/waybill/testing/brokers/internal/keeper"
	"github.com/waybill-go/waybill/testing/brokers/internal/recipe"
)

// An Installer fetches brokers and says what it does.
type Installer struct {
	Out io.Writer // for people

	updated bool // the package lists are fresh
}

// Install makes sure that a broker is there. One that is costs nothing. Several installers
// take turns.
func (i *Installer) Install(ctx context.Context, want recipe.Want) error {
	if found, err := recipe.Find(want); err == nil {
		i.say("%s: %s is here (%s)", want, found.Version, found.Path)
		return nil
	}
	cache, err := recipe.Cache()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(cache, 0o755); err != nil { //nolint:gosec // a cache of public things
		return err
	}
	lock, err := keeper.Lock(ctx, filepath.Join(cache, "install.lock"))
	if err != nil {
		return err
	}
	defer func() { _ = lock.Close() }()
	if _, err := recipe.Find(want); err != nil {
		if err := i.fetch(ctx, cache, want); err != nil {
			return fmt.Errorf("install %s: %w", want, err)
		}
	}
	found, err := recipe.Find(want)
	if err != nil {
		return err
	}
	i.say("%s: %s is here now (%s)", want, found.Version, found.Path)
	return nil
}

func (i *Installer) fetch(ctx context.Context, cache string, want recipe.Want) error {
	switch want.Kind {
	case recipe.RabbitMQ:
		return i.rabbitmq(ctx, cache, want)
	case recipe.Kafka:
		return i.kafka(ctx, cache, want)
	case recipe.GCPPubSub:
		// The jar may be there and only Java be missing.
		return i.need(ctx, "java", "default-jre-headless")
	case recipe.SNSSQS:
		return i.ministack(ctx, cache, want)
	}
	return fmt.Errorf("there is no broker %q", want.Kind)
}

func (i *Installer) say(format string, args ...any) {
	_, _ = fmt.Fprintf(i.Out, format+"\n", args...)
}

// finish gives a complete folder its name. Until then nobody takes it for an installation.
func finish(partial, final string) error {
	if err := os.WriteFile(filepath.Join(partial, recipe.Complete), nil, 0o600); err != nil {
		return err
	}
	if err := os.RemoveAll(final); err != nil {
		return err
	}
	return os.Rename(partial, final)
}
