package middleware

import (
	"context"
	"log/slog"
	"time"

	"github.com/waybill-go/waybill/pubsub"
)

// Logging logs every verdict: what is done or postponed at debug, what is tried again or dropped
// at warn, what failed permanently at error. It tells topic, group, ID, attempt,
// duration and error, and never a body, a key or a header. A nil logger is
// slog.Default.
func Logging(logger *slog.Logger) pubsub.Middleware {
	if logger == nil {
		logger = slog.Default()
	}
	return func(next pubsub.Handler) pubsub.Handler {
		return func(ctx context.Context, d *pubsub.Delivery) error {
			began := time.Now()
			err := next(ctx, d)
			verdict, _ := pubsub.VerdictOf(err)
			level := levels[verdict]
			if !logger.Enabled(ctx, level) {
				return err
			}
			attrs := []slog.Attr{
				slog.String("topic", d.Topic), slog.String("group", d.Group), slog.String("id", d.ID),
				slog.Int("attempt", d.Attempt), slog.String("verdict", verdict.String()), slog.Duration("took", time.Since(began)),
			}
			if err != nil {
				attrs = append(attrs, slog.Any("error", err))
			}
			logger.LogAttrs(ctx, level, "message handled", attrs...)
			return err
		}
	}
}

var levels = map[pubsub.Verdict]slog.Level{
	pubsub.VerdictDone:      slog.LevelDebug,
	pubsub.VerdictRetry:     slog.LevelWarn,
	pubsub.VerdictDrop:      slog.LevelWarn,
	pubsub.VerdictPermanent: slog.LevelError,
	pubsub.VerdictPostpone:  slog.LevelDebug,
}
