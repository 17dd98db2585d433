package sim

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"grace"
)

// failureIsUndone: a run in which a step or verification failed turns back,
// and does not end as a success; and what took effect and can be taken back, the
// world saw undone, whatever is on record. What changed nothing needs no call: a
// process that finds all as it was before the step may say that it is undone.
// A run that was cancelled before anything took effect has nothing to turn back,
// and the kill switch leaves what was done to a person.
func failureIsUndone(s *Sim, r *record) (bad []string) {
	for _, l := range r.acting() {
		if l.failed == 0 || l.run.Status == grace.RunAborted && strings.HasSuffix(l.run.Error, "as it was left") {
			continue
		}
		if l.succeeded != 0 {
			bad = append(bad, fmt.Sprintf("%s on %s succeeded after a failure", l.id, l.run.Service))
		}
		if l.ends > 0 && l.rolling < l.failed && (l.run.Status != grace.RunCancelled || s.tookEffect(l.id)) {
			bad = append(bad, fmt.Sprintf("%s on %s failed at entry %d and did not turn back", l.id, l.run.Service, l.failed))
		}
		for _, c := range s.calls {
			took := c.Run == l.id && c.Phase == grace.PhaseDo && c.Changed && reversible(c.Action)
			if took && l.ends > 0 && !s.sawUndo(l.id, c.Step) {
				bad = append(bad, fmt.Sprintf("%s on %s failed, %d undos of step %s are on record, and nobody undid it", l.id, l.run.Service, l.undone[c.Step], c.Step))
			}
		}
	}
	return bad
}

// aPersonFirst: after an undo that failed, or a run that the kill switch stopped, GRACE
// does nothing more to the service, for
// nobody of the story resolves the incident; nor does it go on with what a person has
// stopped.
func aPersonFirst(s *Sim, r *record) (bad []string) {
	for _, b := range r.acting() {
		for _, a := range r.Lives {
			if a.run.Service != b.run.Service || a.endedSeq == 0 || a.endedSeq > b.beganSeq || b.run.Kind == grace.TriggerManual {
				continue
			}
			left := strings.HasSuffix(a.run.Error, "as it was left") || slices.ContainsFunc(a.run.Steps, func(rec grace.StepRecord) bool {
				return rec.Phase == grace.PhaseUndo && rec.State == grace.StepFailed
			})
			stopped := a.run.Abort != nil && (a.run.Status == grace.RunRolledBack || a.run.Status == grace.RunCancelled) &&
				slices.ContainsFunc(a.run.Condition, func(key grace.SignalKey) bool { return slices.Contains(b.run.Condition, key) })
			if left || stopped && !b.run.SickSince.Add(s.maxSkew()).After(*a.run.EndedAt) {
				bad = append(bad, fmt.Sprintf("%s on %s acted at %s after %s, of which an undo failed (%v) or which a person had stopped (%v)",
					b.id, b.run.Service, s.since(b.began), a.id, left, stopped))
			}
		}
	}
	return bad
}

func (s *Sim) tookEffect(id grace.RunID) bool {
	return slices.ContainsFunc(s.calls, func(c call) bool {
		return c.Run == id && c.Phase == grace.PhaseDo && c.Applied
	})
}

func (s *Sim) sawUndo(id grace.RunID, step string) bool {
	return slices.ContainsFunc(s.calls, func(c call) bool {
		return c.Run == id && c.Phase == grace.PhaseUndo && c.Step == step
	})
}

// reversible tells whether the world can take back what an action did.
func reversible(action string) bool {
	return slices.Contains([]string{actScale, actFlag, actBreaker, actLog}, action)
}

// undoneOnce: of every step at most one undo is on record, and none is done
// again while its effect is there.
func undoneOnce(s *Sim, r *record) (bad []string) {
	for _, l := range r.acting() {
		for _, step := range slices.Sorted(maps.Keys(l.undone)) {
			if n := l.undone[step]; n > 1 {
				bad = append(bad, fmt.Sprintf("%s on %s: step %s undone %d times", l.id, l.run.Service, step, n))
			}
		}
	}
	applied := map[string]call{}
	for _, c := range s.calls {
		if c.Phase != grace.PhaseUndo || !c.Applied || c.Quirk != "" {
			continue
		}
		first, again := applied[c.Key]
		if again && !c.Missing && !s.crashedBetween(first.At, c.At) {
			bad = append(bad, fmt.Sprintf("%s on %s: undo of %s applied at %s and %s", c.Run, c.Service, c.Step, s.since(first.At), s.since(c.At)))
		}
		applied[c.Key] = c
	}
	return bad
}

// noStepRepeated: what is on record as done is not done again.
func noStepRepeated(s *Sim, r *record) (bad []string) {
	for _, c := range s.calls {
		l := r.Lives[c.Run]
		if l == nil || c.Phase != grace.PhaseDo {
			continue
		}
		if done := l.done[c.Step]; done != 0 && done <= c.Seq {
			bad = append(bad, fmt.Sprintf("%s on %s: step %s was on record at entry %d and done again at %s", c.Run, c.Service, c.Step, done, s.since(c.At)))
		}
	}
	return bad
}

func auditChain(_ *Sim, r *record) []string {
	if r.Report.OK {
		return nil
	}
	return []string{fmt.Sprintf("entry %d: %s", r.Report.BrokenAt, r.Report.Detail)}
}

// quietWhenWell: where no service is made sick nothing is done.
func quietWhenWell(s *Sim, _ *record) (bad []string) {
	if !s.story.quiet() {
		return nil
	}
	for _, c := range s.calls {
		bad = append(bad, fmt.Sprintf("%s of run %s on %s at %s, and nothing was wrong", c.Action, c.Run, c.Service, s.since(c.At)))
	}
	return bad
}

// everyRunEnds: once faults stop every run comes to one end, and none acts for
// longer than its watchdog and its undoing take.
func everyRunEnds(s *Sim, r *record) (bad []string) {
	const undoing = 10 * time.Minute // three tries of each, with looking
	for _, run := range r.Runs {
		l := r.Lives[run.ID]
		switch {
		case !run.Status.Terminal():
			bad = append(bad, fmt.Sprintf("%s of %s on %s is still %s, %s after the last fault", run.ID, run.Playbook.ID, run.Service, run.Status, r.End.Sub(s.epoch.Add(s.story.Length))))
		case l.ends != 1:
			bad = append(bad, fmt.Sprintf("%s of %s on %s ended %d times", run.ID, run.Playbook.ID, run.Service, l.ends))
		case l.beganSeq != 0 && l.ended.Sub(l.began) > watchdog+undoing+s.maxSkew():
			bad = append(bad, fmt.Sprintf("%s of %s on %s acted for %s", run.ID, run.Playbook.ID, run.Service, l.ended.Sub(l.began)))
		}
	}
	for _, id := range s.engine.ids {
		if n := s.engine.runs[id]; !n.ended && r.Lives[id] == nil {
			bad = append(bad, fmt.Sprintf("%s was started and is not in the store", id))
		}
	}
	return bad
}

func everyTriggerDecided(s *Sim, r *record) (bad []string) {
	for _, t := range r.Pending {
		if r.End.Sub(t.At) > time.Minute {
			bad = append(bad, fmt.Sprintf("trigger %s (%s on %s) of %s has no decision", t.ID, t.Code, t.Service, s.since(t.At)))
		}
	}
	return bad
}

// crashedBetween tells whether a process ended between two times: what it had
// not recorded is then asked for again, under the same key.
func (s *Sim) crashedBetween(from, to time.Time) bool {
	return slices.ContainsFunc(s.crashed, func(t time.Time) bool { return !t.Before(from) && !t.After(to) })
}
