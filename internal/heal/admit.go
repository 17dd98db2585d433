package heal

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"grace"
	"grace/internal/event"
	"grace/internal/explain"
)

// admit waits for a person where the decision asked for one, and then asks
// once more whether the run may start. It has started when admitted.
func (x *execution) admit() (admitted bool, err error) {
	if x.run.Status == grace.RunAwaitingApproval {
		if approved, err := x.awaitApproval(); err != nil || !approved {
			return false, err
		}
	}
	patience := x.run.WaitsUntil()
	for try := 1; ; try++ {
		if err := x.commit(fmt.Sprintf("admit/%d", try), x.lookBeforeStart, x.start); err != nil {
			return false, err
		}
		if x.run.Status.Terminal() {
			return false, nil
		}
		if x.run.Status == grace.RunRunning {
			return true, nil
		}
		until := x.mark.Admit.Wait
		if until.After(patience) {
			until = patience
		}
		if _, _, err := x.flow.Control(until); err != nil {
			return false, err
		}
	}
}

// awaitApproval ends the run, or leaves it approved. The message only wakes:
// what counts is the approval in the store, read in the same transaction.
func (x *execution) awaitApproval() (approved bool, err error) {
	id := grace.ApprovalID(x.run.ID)
	until, err := x.approvalExpiry(id)
	if err != nil {
		return false, err
	}
	for try := 1; ; try++ {
		if _, _, err := x.flow.Control(until); err != nil {
			return false, err
		}
		err := x.commit(fmt.Sprintf("approval/%d", try), func(j Journal, m *Checkpoint) error {
			a, err := j.Approval(id)
			if err != nil {
				return fmt.Errorf("read the approval: %w", err)
			}
			m.Approval = &a
			return nil
		}, x.settleApproval)
		if err != nil {
			return false, err
		}
		if x.run.Status != grace.RunAwaitingApproval {
			return x.run.Status == grace.RunApproved, nil
		}
	}
}

func (x *execution) approvalExpiry(id grace.ApprovalID) (time.Time, error) {
	mark, err := x.flow.Tx("approval", func(j Journal) (Checkpoint, error) {
		a, err := j.Approval(id)
		if err != nil {
			return Checkpoint{}, fmt.Errorf("read the approval: %w", err)
		}
		return Checkpoint{At: j.Now(), Owner: x.Owner, Approval: &a}, nil
	})
	if err != nil {
		return time.Time{}, err
	}
	return mark.Approval.Expires, nil
}

func (x *execution) settleApproval(run *grace.Run, m Checkpoint) outcome {
	a := *m.Approval
	switch {
	case m.Abort != nil:
		out := end(run, m, grace.RunCancelled, fmt.Sprintf("aborted by %s: %s", m.Abort.Actor, m.Abort.Reason))
		if a.State == grace.ApprovalPending { // else its answer is on record
			a.State, a.Revision, a.DecidedAt = grace.ApprovalCancelled, a.Revision+1, &m.At
			a.Actor, a.Reason = m.Abort.Actor, m.Abort.Reason
			out.approval = &a
		}
		return out
	case a.State == grace.ApprovalApproved:
		run.Status, run.ApprovedAt = grace.RunApproved, &m.At
		return outcome{moves: []event.Move{{Action: "approved", Actor: a.Actor, Reason: a.Reason}}}
	case a.State == grace.ApprovalDenied:
		run.Reasons = append(run.Reasons, grace.Reason{
			Gate: "approval", Code: grace.ReasonApprovalDenied, Actual: a.Reason, Source: "person/" + a.Actor,
		})
		return end(run, m, grace.RunDenied, "denied by "+a.Actor+": "+a.Reason)
	case a.State == grace.ApprovalCancelled: // what it was about is no more
		run.Reasons = append(run.Reasons, grace.Reason{
			Gate: "trigger", Code: grace.ReasonCleared, Actual: a.Reason,
		})
		return end(run, m, grace.RunCancelled, a.Reason)
	case !m.At.Before(a.Expires):
		a.State, a.Revision = grace.ApprovalExpired, a.Revision+1
		run.Reasons = append(run.Reasons, grace.Reason{
			Gate: "approval", Code: grace.ReasonApprovalExpired, Until: &a.Expires,
		})
		out := end(run, m, grace.RunExpired, "nobody decided in time")
		out.approval = &a
		return out
	default:
		// Woken by a message whose transaction this one does not see yet, or
		// early: wait on.
		return outcome{}
	}
}

func (x *execution) lookBeforeStart(j Journal, m *Checkpoint) error {
	m.Invalid = x.invalid()
	var err error
	if m.Admit, err = j.Admit(x.run); err != nil {
		return fmt.Errorf("ask whether the run may start: %w", err)
	}
	return nil
}

// invalid tells what is wrong with the playbook as this process would run it.
func (x *execution) invalid() string {
	var problems []string
	check := func(where, action string, with map[string]any) {
		a, ok := x.Actions[action]
		if !ok {
			problems = append(problems, fmt.Sprintf("%s: unknown action %q", where, action))
			return
		}
		if err := a.Validate(with); err != nil {
			problems = append(problems, fmt.Sprintf("%s: %v", where, err))
		}
	}
	for _, s := range x.run.Playbook.Steps {
		where := fmt.Sprintf("step %q", s.Name)
		check(where, s.Action, s.With)
		if s.Snapshot != nil {
			check(where+" snapshot", s.Snapshot.Action, s.Snapshot.With)
		}
		if s.Undo != nil {
			check(where+" undo", s.Undo.Action, s.Undo.With)
		}
		if s.Undo == nil && !s.Irreversible && !s.ReadOnly {
			problems = append(problems, where+": neither undo nor irreversible is declared")
		}
	}
	if len(x.run.Playbook.Steps) == 0 {
		problems = append(problems, "the playbook has no steps")
	}
	return strings.Join(problems, "; ")
}

func (x *execution) start(run *grace.Run, m Checkpoint) outcome {
	switch {
	case m.Abort != nil:
		run.Reasons = nil // what it waited for is not why it ended
		return end(run, m, grace.RunCancelled, fmt.Sprintf("aborted by %s: %s", m.Abort.Actor, m.Abort.Reason))
	case m.Invalid != "":
		run.Error = m.Invalid
		out := end(run, m, grace.RunEscalated, "nothing was started: "+m.Invalid)
		out.openIncident = true
		return out
	case m.Admit.End != "":
		run.Reasons = m.Admit.Reasons
		return end(run, m, m.Admit.End, explain.Lines(m.Admit.Reasons))
	case !m.Admit.Wait.IsZero() && !m.At.Before(run.WaitsUntil()):
		run.Reasons = m.Admit.Reasons
		return end(run, m, grace.RunExpired, "waited too long: "+explain.Lines(m.Admit.Reasons))
	case !m.Admit.Wait.IsZero():
		// It asks again now and then, perhaps for a day: what is new goes
		// on record, not every answer.
		again := slices.EqualFunc(run.Reasons, m.Admit.Reasons, func(a, b grace.Reason) bool { return a.Gate == b.Gate && a.Code == b.Code })
		run.Reasons = m.Admit.Reasons
		if again {
			return outcome{}
		}
		return outcome{moves: []event.Move{{Action: "waiting", Reason: explain.Lines(m.Admit.Reasons)}}}
	}
	run.Status = grace.RunRunning
	run.Reasons = nil
	run.StartedAt = &m.At
	run.Before = m.Admit.Before
	run.Steps = make([]grace.StepRecord, len(run.Playbook.Steps))
	for i, s := range run.Playbook.Steps {
		run.Steps[i] = grace.StepRecord{Name: s.Name, Phase: grace.PhaseDo, State: grace.StepPending, Action: s.Action}
	}
	markStarted(run, 0, m)
	return outcome{moves: []event.Move{{Action: "running", Reason: "first step: " + run.Steps[0].Name}}}
}
