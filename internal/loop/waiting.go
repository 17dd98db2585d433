package loop

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"grace"
	"grace/internal/content"
	"grace/internal/explain"
	"grace/internal/gate"
	"grace/internal/store"
)

// rousedAtOnce is how many runs that wait to start are looked at in one pass.
const rousedAtOnce = 50

// lookAfter looks at the runs that have not begun: it takes back questions whose
// answer would start nothing, and has those look again that wait for something
// which has changed.
func (d *decider) lookAfter(ctx context.Context) error {
	turned, reloaded, opened := d.mirror.clearedPredictions(), d.reloaded.Swap(false), d.windowOpened()
	open, err := d.Store.OpenRunHeads(ctx, d.Store.Q())
	if err != nil {
		d.reloaded.Store(reloaded)
		return fmt.Errorf("read open runs: %w", err)
	}
	held, err := d.heldServices(ctx, d.Store.Q())
	if err != nil {
		return err
	}
	var failed error // about one, which keeps nothing from the others
	note := func(id grace.RunID, err error) {
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("look after run %s: %w", id, err))
		}
	}
	var approved []store.RunHead
	for _, h := range open {
		switch h.State {
		case grace.RunAwaitingApproval:
			note(h.ID, d.withdrawWaiting(ctx, h, held[h.Service], turned, reloaded, opened))
		case grace.RunApproved:
			approved = append(approved, h)
		default:
		}
	}
	if len(approved) == 0 {
		return failed
	}
	st := d.stages.Load()
	p, err := d.present(ctx, d.Store.Q(), d.glance(st)) // once for all of them
	if err != nil {
		return errors.Join(failed, err)
	}
	for range min(len(approved), rousedAtOnce) {
		d.roused++
		h := approved[d.roused%len(approved)]
		note(h.ID, d.rouse(ctx, st, p, h))
	}
	return failed
}

// withdrawWaiting takes back the question to a person whose answer would start nothing:
// what was foreseen is foreseen no more and has not come, or what began the run
// has passed and stayed so for the hold-down. (After a restart nobody knows what
// was foreseen; then it is asked when the run is about to start.) After a change of
// the configuration what it rests on may not be watched any more.
func (d *decider) withdrawWaiting(ctx context.Context, h store.RunHead, held held, turned []grace.ServiceID, reloaded, opened bool) (err error) {
	r := gate.Person(held.manual, held.stopped)
	over, why := !r.OK && h.Kind != grace.TriggerManual, explain.Actual(r)
	switch {
	case over:
	case h.Kind == grace.TriggerProactive:
		over, why, err = d.foreseenNoMore(ctx, h, turned)
	case h.Kind == grace.TriggerReactive:
		if over, why, err = d.passed(ctx, h); err == nil && !over && reloaded {
			over, why, err = d.unfounded(ctx, h)
		}
	}
	if err == nil && !over && opened {
		over, why, err = d.needless(ctx, h)
	}
	if err == nil && over {
		err = d.callOffRun(ctx, h, why)
	}
	return err
}

// windowOpened tells whether a change window has opened since it was asked last. It is
// asked by the deciding goroutine alone.
func (d *decider) windowOpened() bool {
	was := d.windowOpen
	d.windowOpen = d.stages.Load().rules.Trust.Window(d.Now()).OK
	return d.windowOpen && !was
}

// needless tells whether a person was asked for the sole reason that no change window
// was open: now one is, and what is decided anew needs no answer.
func (d *decider) needless(ctx context.Context, h store.RunHead) (over bool, why string, err error) {
	run, err := d.Store.Run(ctx, d.Store.Q(), h.ID)
	if err != nil || run.Kind == grace.TriggerManual {
		return false, "", err
	}
	dec, err := d.Store.Decision(ctx, d.Store.Q(), run.Decision)
	if err != nil {
		return false, "", err
	}
	failed := dec.Failed()
	other := func(r grace.Reason) bool { return r.Code != grace.ReasonOutsideWindow }
	return len(failed) > 0 && !slices.ContainsFunc(failed, other), "a change window is open: it needs no answer any more, and is decided anew", nil
}

// rouse has a run look again that waits to start, when what it was told it waits
// for is not what it would be told now.
func (d *decider) rouse(ctx context.Context, st *stages, p present, h store.RunHead) error {
	run, err := d.Store.Run(ctx, d.Store.Q(), h.ID)
	if err != nil || len(run.Reasons) == 0 || run.Status != grace.RunApproved { // it has not asked yet
		return err
	}
	s, k, dec, err := d.admission(ctx, d.Store.Q(), st, p, run)
	if err != nil {
		if final(err) {
			return nil // it finds out itself, and ends
		}
		return err
	}
	a := st.rules.Admit(s, k, dec)
	if said := namesOf(a.Reasons); a.End != "" || said != namesOf(run.Reasons) {
		m := grace.ControlMessage{Kind: grace.ControlLook, Actor: grace.Self, Reason: "what it waits for has changed", At: p.now}
		return d.Store.Do(ctx, func(ctx context.Context, tx store.Tx) error {
			return d.Engine.Send(ctx, tx, run.ID, "look/"+content.ID(said, a.End, run.Revision), m)
		})
	}
	return nil
}

// namesOf names reasons by gate and code.
func namesOf(reasons []grace.Reason) string {
	names := make([]string, len(reasons))
	for i, r := range reasons {
		names[i] = r.Gate + "/" + string(r.Code)
	}
	return strings.Join(slices.Compact(names), " ")
}
