package daemon

import (
	"context"
	"time"

	"grace/internal/config"
	"grace/internal/store"
)

const (
	houseInterval = time.Hour
	houseFirst    = time.Minute
	forgetBatch   = 500
)

// enforceRetention prunes what retention allows, soon after the start and then every
// hour.
func (d *Daemon) enforceRetention(ctx context.Context) {
	timer := time.NewTimer(houseFirst)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		timer.Reset(houseInterval)
		if ok, why := d.clock.mayPrune(d.sinceStart()); !ok {
			d.log.Info("old rows are not pruned yet", "why", why)
			continue
		}
		if err := d.prune(ctx, d.config().Retention); err != nil && ctx.Err() == nil {
			d.log.Warn("old rows not pruned; tried again in an hour", "error", err)
		}
	}
}

func (d *Daemon) prune(ctx context.Context, keep config.Retention) error {
	pruned, err := d.store.Prune(ctx, now(), store.Retention(keep))
	if err != nil {
		return err
	}
	forgotten := 0
	for keep.Runs > 0 {
		n, err := d.engine.Forget(now().Add(-keep.Runs.D()), forgetBatch)
		if err != nil {
			return err
		}
		forgotten += n
		if n < forgetBatch || ctx.Err() != nil {
			break
		}
	}
	if len(pruned) > 0 || forgotten > 0 {
		d.log.Info("pruned", "rows", pruned, "engine_runs", forgotten)
	}
	return nil
}
