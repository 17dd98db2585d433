package loop

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"grace"
)

// decider decides: what is to be done, who is told of what, and what becomes of what
// waits. All of its state belongs to its one goroutine.
type decider struct {
	*basis
	work

	runs *runs

	conditions map[grace.ServiceID]*condition // what is sick, and since when
	hushed     map[grace.SignalKey]time.Time  // until when it was silenced at its source
	looks      time.Time                      // until then what is not seen may come, after the process stood still
	unseen     map[grace.SignalKey]time.Time  // since when there is no data of it
	well       map[grace.ServiceID]time.Time  // the services that are shown to be well, since when
	considered map[string]consideration       // by considered()
	reworded   map[grace.IncidentID]time.Time // when the reason of an incident was looked at last
	passes     int
	windowOpen bool      // when it was asked last
	roused     int       // of the runs that wait to start, which was looked at last
	stormOpen  bool      // as it was told last
	stormTold  bool      // false until it was told once
	stormGrew  time.Time // when its incident was widened last

	reconciled atomic.Pointer[time.Time] // end of the last reconcile cycle without an error, for everybody
}

func newDecider(b *basis, r *runs) *decider {
	return &decider{
		basis: b, runs: r, considered: map[string]consideration{}, reworded: map[grace.IncidentID]time.Time{},
		conditions: map[grace.ServiceID]*condition{}, unseen: map[grace.SignalKey]time.Time{},
	}
}

// Start begins to decide when woken.
func (d *decider) Start(ctx context.Context) { d.begin(ctx, d.decides) }

// decides does so when woken: by what is new, and by tick every second for what
// waits for time.
func (d *decider) decides(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-d.wake:
		}
		began := time.Now()
		if err := d.decideOnce(ctx); err != nil && ctx.Err() == nil {
			d.Log.Error("deciding failed; triggers stay pending", "error", err)
		}
		// In a storm every alert wakes: what is taken in must not starve.
		if took := time.Since(began); took > longPass {
			select {
			case <-ctx.Done():
				return
			case <-time.After(min(took, time.Second)):
			}
		}
	}
}

// longPass is how long a pass may take without a rest after it.
const longPass = 50 * time.Millisecond

// reconcileEvery passes of the decider, stranded runs are looked for.
const reconcileEvery = 10

func (d *decider) decideOnce(ctx context.Context) error {
	d.in.noticeStill()
	err := errors.Join(d.endMode(ctx), d.decideAll(ctx), d.lookAfter(ctx))
	if d.passes%reconcileEvery == 0 {
		err = errors.Join(err, d.reconcile(ctx))
	}
	d.passes++
	if err == nil {
		at := time.Now() // with the monotonic clock, whatever the loop's own clock is
		d.reconciled.Store(&at)
	}
	return err
}

// Reconciled tells when the last reconcile cycle ended without an error; zero
// is never.
func (d *decider) Reconciled() time.Time {
	if at := d.reconciled.Load(); at != nil {
		return *at
	}
	return time.Time{}
}
