package loop

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"grace"
	"grace/internal/content"
	"grace/internal/decide"
	"grace/internal/event"
	"grace/internal/stage/propose"
	"grace/internal/store"
)

const (
	// pastWindow is how far back propose's limits look.
	pastWindow   = 24 * time.Hour
	triggerBatch = 5000
	// stormBatch diagnoses are decided in one transaction while the storm
	// breaker is open.
	stormBatch = 50
)

// consideration is what was last said about a diagnosis.
type consideration struct {
	at      time.Time
	service grace.ServiceID
	failed  []grace.Reason // why nothing was done
	storm   bool           // the storm breaker was open
}

// workItem is a diagnosis that is to be decided now.
type workItem struct {
	diagnosis grace.Diagnosis
	triggers  []grace.Trigger
}

// decideAll is one pass: it diagnoses what all signals say together, decides
// each cause, and settles the triggers that led to none.
func (d *decider) decideAll(ctx context.Context) error {
	d.shiftClocks()
	st := d.stages.Load()
	sc := d.look(st)
	// Whatever fails here, somebody is told of what lasts.
	pending, err := d.Store.PendingTriggers(ctx, d.Store.Q(), triggerBatch)
	if err == nil {
		err = d.storm(ctx, st, sc)
	}
	if err == nil {
		err = d.decideList(ctx, st, sc, pending)
	}
	return errors.Join(err, d.settle(ctx, st, pending, sc), d.escalate(ctx, st, sc.Diagnoses, sc.Signals, sc.At))
}

// decideList decides the diagnoses that it is time for.
func (d *decider) decideList(ctx context.Context, st *stages, sc *decide.Scene, pending []grace.Trigger) error {
	now, storm := sc.At, d.stormNow.Load() != nil
	current := map[string]bool{}
	waiting := byService(pending)
	var list []workItem
	for _, dia := range sc.Diagnoses {
		key := dedupKey(dia)
		current[key] = true
		if now.Sub(dia.Since) < st.GroupWait {
			continue // its other symptoms may still be on their way
		}
		mine := triggersOf(dia, waiting)
		last, seen := d.considered[key]
		if seen && len(mine) == 0 && (now.Sub(last.at) < st.Reconsider || storm && last.storm) {
			continue // while a storm lasts nothing is done: the "no" stands
		}
		list = append(list, workItem{dia, mine})
	}
	err := d.decideEach(ctx, st, sc, list, storm)
	for id := range d.considered {
		if !current[id] {
			delete(d.considered, id)
		}
	}
	return err
}

// maxFailures is how many decisions of a pass may fail until the store is taken
// to be away.
const maxFailures = 3

// decideEach decides diagnoses, the most urgent first. In a storm many are
// decided in one transaction: a thousand waits for the disk would take seconds.
// One that cannot be decided does not keep the others from it.
func (d *decider) decideEach(ctx context.Context, st *stages, sc *decide.Scene, list []workItem, storm bool) error {
	var failed error
	for failures := 0; len(list) > 0 && failures < maxFailures; {
		n := 1
		if storm {
			n = min(len(list), stormBatch)
		}
		said, err := d.decideTogether(ctx, st, sc, list[:n])
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("decide %s on %s: %w", list[0].diagnosis.Code, list[0].diagnosis.Cause, err))
			list = list[n:]
			failures++
			continue
		}
		for i, dec := range said {
			d.considered[dedupKey(list[i].diagnosis)] = consideration{
				at: sc.At, service: dec.Service, failed: dec.Failed(), storm: storm,
			}
		}
		list = list[len(said):]
	}
	return failed
}

// deciding runs f in a transaction while no other process or goroutine decides.
func (co *common) deciding(ctx context.Context, f func(context.Context, store.Tx) error) error {
	return co.Store.Do(ctx, func(ctx context.Context, tx store.Tx) error {
		if err := co.Store.LockDeciding(ctx, tx); err != nil {
			return err
		}
		return f(ctx, tx)
	})
}

// decidingOn is deciding on a scene, with what stands.
func (co *common) decidingOn(ctx context.Context, sc *decide.Scene, f func(context.Context, store.Tx, present) error) error {
	return co.Store.Do(ctx, func(ctx context.Context, tx store.Tx) error {
		st, err := co.Store.StandingToDecide(ctx, tx, co.Now())
		if err != nil {
			return fmt.Errorf("read what stands: %w", err)
		}
		return f(ctx, tx, co.presentOf(sc, st))
	})
}

// decideTogether decides diagnoses in one transaction, and gives the decisions.
// It ends with the first one that makes a run, since those behind it
// must see that run: at least one is decided. Without a trigger that no replica has
// decided yet a "no" is not written again when it was said last, nor when it only says
// that a run for the same is open: that run's decision is the answer.
func (d *decider) decideTogether(ctx context.Context, st *stages, sc *decide.Scene, list []workItem) ([]grace.Decision, error) {
	began := time.Now()
	var said, decided []grace.Decision
	err := d.decidingOn(ctx, sc, func(ctx context.Context, tx store.Tx, p present) error {
		said, decided = nil, nil
		pending, err := d.pending(ctx, tx, list)
		if err != nil {
			return err
		}
		var events []event.Event
		var parts []content.Parts
		for _, one := range list {
			triggers := slices.DeleteFunc(slices.Clone(one.triggers), func(t grace.Trigger) bool { return !pending[t.ID] })
			s, k, err := d.snapshot(ctx, tx, st, p, one.diagnosis.Cause)
			if err != nil {
				return err
			}
			if err := d.remember(ctx, tx, st, &s, one.diagnosis.Kind, one.diagnosis.Code); err != nil {
				return err
			}
			dec, run := st.rules.Decide(s, k)
			dec.Triggers = idsOf(triggers)
			said = append(said, dec)
			if run == nil {
				answered, err := d.answered(ctx, tx, p, s.Past, dec, triggers)
				if err != nil {
					return err
				}
				if answered {
					events = append(events, event.TriggersAnswered{Triggers: triggers, State: grace.TriggerDecided, At: dec.At})
					continue
				}
			}
			decided = append(decided, dec)
			if run != nil && !run.Status.Terminal() {
				if err := d.Engine.Enqueue(ctx, tx, run.ID, run); err != nil {
					return err
				}
			}
			parts = append(parts, k.Parts)
			events = append(events, decisionEvent(s, dec, run, st.ApprovalTTL), event.TriggersAnswered{Triggers: triggers, State: grace.TriggerDecided, At: dec.At})
			if run != nil {
				break
			}
		}
		return d.Store.Record(ctx, tx, parts, events...)
	})
	if err != nil {
		return nil, err
	}
	for _, dec := range decided {
		d.announce(dec, time.Since(began)/time.Duration(len(decided)))
	}
	return said, nil
}

// pending gives the triggers that wait for a decision still: another replica may have
// decided those of a list.
func (co *common) pending(ctx context.Context, tx store.Tx, list []workItem) (map[grace.TriggerID]bool, error) {
	out := map[grace.TriggerID]bool{}
	if !slices.ContainsFunc(list, func(d workItem) bool { return len(d.triggers) > 0 }) {
		return out, nil
	}
	ids, err := co.Store.PendingTriggerIDs(ctx, tx)
	for _, id := range ids {
		out[id] = true
	}
	return out, err
}

// answered tells whether a decision that makes no run is on record already: without a
// trigger that waits, when the same was said last, a run for it is open, or it passes;
// with some, when they all say what an open run is about, or one that has healed it
// since, as two replicas do that heard of the same.
func (d *decider) answered(ctx context.Context, tx store.Tx, p present, past []grace.PastRun, dec grace.Decision, triggers []grace.Trigger) (bool, error) {
	if len(triggers) == 0 {
		if inHand(dec) || passes(dec) {
			return true, nil
		}
		return d.saidLast(ctx, tx, dec)
	}
	about := runAbout(p.open, past, dec)
	if about == "" {
		return false, nil
	}
	run, err := d.Store.Run(ctx, tx, about)
	other := func(t grace.Trigger) bool {
		return !slices.Contains(run.Condition, t.Signal) || run.EndedAt != nil && t.At.After(*run.EndedAt)
	}
	return err == nil && !slices.ContainsFunc(triggers, other), err
}

// runAbout gives the run that a decision without one leaves things to: the open one on
// its service, or the newest when that healed what is over; empty for none.
func runAbout(open []grace.OpenRun, past []grace.PastRun, dec grace.Decision) grace.RunID {
	if i := slices.IndexFunc(open, func(o grace.OpenRun) bool { return o.Service == dec.Service }); inHand(dec) && i >= 0 {
		return open[i].Run
	}
	var last grace.PastRun
	for _, run := range past {
		if run.Service == dec.Service && (last.Run == "" || run.End().After(last.End())) {
			last = run
		}
	}
	if last.Status != grace.RunSucceeded || !slices.ContainsFunc(dec.Reasons, func(r grace.Reason) bool { return r.Code == grace.ReasonCleared }) {
		return ""
	}
	return last.Run
}

// saidLast tells whether a decision says what the last one about its service did.
func (co *common) saidLast(ctx context.Context, tx store.Tx, dec grace.Decision) (bool, error) {
	last, err := co.Store.LastDecision(ctx, tx, dec.Service)
	if final(err) {
		return false, nil
	}
	return err == nil && dedupKey(last.Diagnosis) == dedupKey(dec.Diagnosis) && signature(last) == signature(dec), err
}

// announce counts and logs a decision that is written.
func (co *common) announce(dec grace.Decision, took time.Duration) {
	co.stats.decided(dec, took)
	co.Log.Info("decision", "id", dec.ID, "decision", dec.Verdict, "service", dec.Service, "code", dec.Diagnosis.Code,
		"kind", dec.Diagnosis.Kind, "playbook", event.PlaybookOf(dec), "run", dec.Run, "reason", event.Summary(dec))
}

// passes tells whether what it is about passed when it was last seen, or is over:
// another replica may have seen to it while this one waited for its turn.
func passes(dec grace.Decision) bool {
	return slices.ContainsFunc(dec.Reasons, func(r grace.Reason) bool { return r.Code == grace.ReasonUnstable || r.Code == grace.ReasonCleared })
}

// inHand tells whether a run for the same condition is open.
func inHand(dec grace.Decision) bool {
	return slices.ContainsFunc(dec.Reasons, func(r grace.Reason) bool { return r.Gate == propose.GateOpen && !r.OK })
}

// dedupKey identifies a diagnosis over time: a prediction's has a new id with
// every evaluation.
func dedupKey(d grace.Diagnosis) string {
	if d.Kind == grace.TriggerReactive {
		return string(d.ID)
	}
	return string(d.Kind) + "/" + string(d.Cause) + "/" + string(d.Code)
}

// byService gives pending triggers by the service they are about.
func byService(pending []grace.Trigger) map[grace.ServiceID][]grace.Trigger {
	out := map[grace.ServiceID][]grace.Trigger{}
	for _, t := range pending {
		out[t.Service] = append(out[t.Service], t)
	}
	return out
}

// triggersOf gives the pending triggers that a diagnosis answers, oldest first:
// those of the cause and of its victims.
func triggersOf(d grace.Diagnosis, waiting map[grace.ServiceID][]grace.Trigger) []grace.Trigger {
	out := slices.Clone(waiting[d.Cause])
	for _, v := range d.Victims {
		if v != d.Cause {
			out = append(out, waiting[v]...)
		}
	}
	slices.SortFunc(out, func(a, b grace.Trigger) int { return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.ID, b.ID)) })
	return out
}
