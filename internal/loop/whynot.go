package loop

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"grace"
	"grace/internal/explain"
	"grace/internal/store"
)

// lastSaid gives the last consideration of a service.
func (d *decider) lastSaid(id grace.ServiceID) (last consideration) {
	for _, c := range d.considered {
		if c.service == id && c.at.After(last.at) {
			last = c
		}
	}
	return last
}

// blockedByOwnRun tells whether the last "no" only says that the remedy was
// proposed a moment ago.
func (d *decider) blockedByOwnRun(id grace.ServiceID) bool {
	return slices.ContainsFunc(d.lastSaid(id).failed, func(r grace.Reason) bool { return r.Code == grace.ReasonDuplicate })
}

// whyNotDone gives why what was proposed last for a service was not done: that
// it was proposed a moment ago is no reason that a person could do anything
// about. Without such a run it gives why.
func (d *decider) whyNotDone(ctx context.Context, tx store.Tx, id grace.ServiceID, why string, now time.Time) (string, error) {
	heads, err := d.Store.RunHeads(ctx, tx, store.RunHeadFilter{Service: id, Since: now.Add(-pastWindow)})
	if err != nil {
		return why, fmt.Errorf("read past runs of %s: %w", id, err)
	}
	if len(heads) == 0 {
		return why, nil
	}
	last := slices.MaxFunc(heads, func(a, b store.RunHead) int { return a.CreatedAt.Compare(b.CreatedAt) })
	if !notDone(last.State) {
		return why, nil
	}
	run, err := d.Store.Run(ctx, tx, last.ID)
	if err != nil || len(run.Reasons) == 0 {
		return why, err
	}
	return fmt.Sprintf("run %s (%s) is %s: %s", run.ID, run.Playbook.ID, run.Status, explain.Lines(run.Reasons)), nil
}

// notDone tells whether a run ended before it did anything, for a reason that
// holds on.
func notDone(s grace.RunStatus) bool {
	return s == grace.RunObservedOnly || s == grace.RunDenied || s == grace.RunExpired
}

// whyNot gives the reasons of the last "no" about a service.
func (d *decider) whyNot(id grace.ServiceID) string {
	last := d.lastSaid(id)
	if len(last.failed) > 0 {
		return explain.Lines(last.failed)
	}
	if c := d.conditions[id]; c != nil {
		cause := d.recovering(id)
		switch {
		case c.worst.State == grace.SignalUnstable:
			return "it keeps changing and passed when last seen; nothing is done to a service while it passes"
		case c.worst.Flapping && last.at.IsZero():
			return "it fails only now and then, or only some replicas see it fail; nothing is done to a service while it passes"
		case last.at.IsZero() && cause != "":
			return fmt.Sprintf("%s, on which it depends, recovered a moment ago, and may have caused it", cause)
		case c.worst.Code == "" || last.at.IsZero():
			return fmt.Sprintf("no rule makes a diagnosis of it (code %s)", cmp.Or(c.worst.Code, "not given"))
		}
	}
	return "what was done has not helped"
}

// recovering gives a service that explains the symptoms of another for a moment still,
// though it is well again.
func (d *decider) recovering(id grace.ServiceID) grace.ServiceID {
	st, now := d.stages.Load(), d.Now()
	for _, s := range d.mirror.allSignals() {
		if s.State == grace.SignalOK && s.Severity.Serious() && !s.Fired.IsZero() && now.Sub(s.Fired) <= st.Diagnose.Aftermath.D() &&
			s.Service != id && st.rules.Graph.DependsOn(id, s.Service) {
			return s.Service
		}
	}
	return ""
}

func whyWaiting(run grace.Run) string {
	switch run.Status {
	case grace.RunAwaitingApproval:
		return fmt.Sprintf("run %s (%s) waits for a person's answer since %s", run.ID, run.Playbook.ID, run.CreatedAt.UTC().Format(time.RFC3339))
	default:
		if len(run.Reasons) > 0 {
			return fmt.Sprintf("run %s (%s) waits: %s", run.ID, run.Playbook.ID, explain.Lines(run.Reasons))
		}
		return fmt.Sprintf("run %s (%s) is about to start", run.ID, run.Playbook.ID)
	}
}
