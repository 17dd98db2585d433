package loop

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"grace"
	"grace/internal/content"
	"grace/internal/decide"
	"grace/internal/event"
	"grace/internal/explain"
	"grace/internal/heal"
	"grace/internal/stage/admit"
	"grace/internal/store"
)

// permit asks before every try of a step whether the mode lets it happen, and
// before the first one once more all that was asked when the run was admitted: a
// snapshot may have taken its time. While the store is away nobody can say, so it
// waits.
func (x *runs) permit(ctx context.Context, run grace.Run, first bool) error {
	for {
		set, err := x.Store.Mode(ctx, x.Store.Q())
		if err == nil {
			st := x.stages.Load()
			if err := st.permits(set, x.Now()); err != nil || !first {
				return err
			}
			var decided bool
			if decided, err = x.permitFirst(ctx, st, run); decided {
				return err
			}
			if err == nil { // not confirmed yet
				x.Runner.Clock.Sleep(ctx, time.Second)
				continue
			}
		}
		if ctx.Err() != nil {
			return fmt.Errorf("not done: whether it may be could not be read: %w", err)
		}
		x.Log.Warn("a step waits: whether it may be done cannot be read", "run", run.ID, "error", err)
		x.Runner.Clock.Sleep(ctx, time.Second)
	}
}

// permitFirst asks whether anything may be changed now, and puts the answer on record.
// It is not decided while the store does not answer, or no sample has come yet.
func (x *runs) permitFirst(ctx context.Context, st *stages, run grace.Run) (decided bool, err error) {
	x.in.noticeStill()
	var refused error
	err = x.Store.Do(ctx, func(ctx context.Context, tx store.Tx) error {
		p, err := x.present(ctx, tx, x.glance(st))
		if err != nil {
			return err
		}
		s, k, dec, err := x.admission(ctx, tx, st, p, run)
		if err != nil {
			return err
		}
		a := st.rules.Admit(s, k, dec)
		goes := a.End == "" && a.Wait.IsZero()
		if decided = goes || !unsettled(a.Reasons, k.Signals) || p.now.Sub(s.Since) >= confirmWait; !decided {
			return nil
		}
		if !goes {
			refused = &heal.ClearedError{Text: heal.NotBegun + explain.Lines(a.Reasons)}
		}
		return x.admitted(ctx, tx, s, k, a)
	})
	if err != nil {
		return final(err), err
	}
	return decided, refused
}

// admitted puts the answer to whether a run may start on record.
func (x *runs) admitted(ctx context.Context, tx store.Tx, s grace.Snapshot, k decide.Known, a admit.Answer) error {
	e := event.Admitted{Snapshot: decide.RecordAdmission(s, a)}
	if err := x.Store.Record(ctx, tx, []content.Parts{k.Parts}, e); err != nil {
		return fmt.Errorf("record the admission: %w", err)
	}
	return nil
}

// unsettled tells whether all that stands in the way may be that the first samples
// since the start, or the change of the configuration, have not come yet.
func unsettled(reasons []grace.Reason, signals []grace.Signal) bool {
	other := func(r grace.Reason) bool {
		return r.Gate != "redundancy" && r.Gate != "blast_radius" && r.Code != grace.ReasonUnconfirmed
	}
	return !slices.ContainsFunc(reasons, other) && slices.ContainsFunc(signals, func(s grace.Signal) bool { return s.Unconfirmed && s.Severity.Serious() })
}

// confirmWait is how long a run that another process began, and that has changed
// nothing yet, waits for a sample that shows this process what it is about.
const confirmWait = 2 * time.Minute

// permits tells what forbids to do anything at all.
func (st *stages) permits(set grace.ModeSetting, now time.Time) error {
	switch mode := set.At(now); {
	case mode != grace.ModeAutonomous && mode != grace.ModeAskAlways:
		return fmt.Errorf("stopped: the mode is %s since %s, set by %s: %s", mode, set.Since.UTC().Format(time.RFC3339), set.Actor, set.Reason)
	case st.Govern.ObserveOnly:
		return errors.New("stopped: trust.observe_only is on")
	case !st.Govern.Execute:
		return errors.New("stopped: trust.execute is off")
	}
	return nil
}
