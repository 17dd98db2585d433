package loop

import (
	"context"
	"fmt"

	"grace"
	"grace/internal/store"
)

// signalsNow gives the signals of a service as they are stored, with what this
// process itself knows. What the rows say was seen by some replica; that it was
// seen since this process began, or since its configuration changed, it knows
// itself.
func (b *basis) signalsNow(ctx context.Context, q store.Querier, service grace.ServiceID) ([]grace.Signal, error) {
	rows, err := b.Store.Signals(ctx, q, service)
	if err != nil {
		return nil, fmt.Errorf("look at the signals of %s: %w", service, err)
	}
	for i, s := range rows {
		s.Unconfirmed = b.mirror.isUnconfirmed(s.Key)
		rows[i] = b.in.newest(s)
	}
	return rows, nil
}

// newest adds what this process has seen since a row was written, which may not
// be durable yet: that it passed, or that its sender does not repeat it.
func (in *ingest) newest(row grace.Signal) grace.Signal {
	if row.State != grace.SignalFiring {
		return row
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	own, known := in.sense.Signal(row.Key)
	if known && own.Repeated.After(row.Repeated) {
		row.Repeated = own.Repeated
	}
	seen := row.Unconfirmed || known && own.At.After(row.At) // not yet, or later: then what is known here says when
	switch {
	case in.sense.PassedSince(row):
		row.Passing, row.Message = true, own.Message
	case !seen && !row.Expires.IsZero() && in.Now().After(row.Expires) && (!known || !own.Expires.After(row.Expires)):
		row.State, row.Message = grace.SignalStale, row.Metric+": not repeated until "+row.Expires.UTC().Format("15:04:05 MST")
	}
	return row
}

// says gives what a signal that was stored a while ago says now: that it failed 60 times,
// where the row says twice.
func (in *ingest) says(row grace.Signal) string {
	in.mu.Lock()
	defer in.mu.Unlock()
	if own, known := in.sense.Signal(row.Key); known && row.State == grace.SignalFiring && own.State == row.State && own.Passing == row.Passing {
		return own.Message
	}
	return row.Message
}
