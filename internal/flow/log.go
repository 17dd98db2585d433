package flow

import (
	"context"
	"errors"
	"log/slog"
)

// shutdownLogFilter keeps the engine's log free of what a stop causes: queries that were
// broken off because the engine was told to end are no errors.
type shutdownLogFilter struct {
	slog.Handler
	stopping context.Context //nolint:containedctx // only asked whether it is done
}

// Handle meets slog.Handler.
func (c shutdownLogFilter) Handle(ctx context.Context, r slog.Record) error {
	if c.stopping.Err() != nil && brokenOff(r) {
		return nil
	}
	return c.Handler.Handle(ctx, r)
}

// WithAttrs meets slog.Handler.
func (c shutdownLogFilter) WithAttrs(attrs []slog.Attr) slog.Handler {
	return shutdownLogFilter{c.Handler.WithAttrs(attrs), c.stopping}
}

// WithGroup meets slog.Handler.
func (c shutdownLogFilter) WithGroup(name string) slog.Handler {
	return shutdownLogFilter{c.Handler.WithGroup(name), c.stopping}
}

func brokenOff(r slog.Record) bool {
	found := false
	r.Attrs(func(a slog.Attr) bool {
		err, ok := a.Value.Any().(error)
		found = ok && errors.Is(err, context.Canceled)
		return !found
	})
	return found
}
