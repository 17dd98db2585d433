package event

import "slices"

// Given is a state that tests begin with: rows as they are, without how they came
// about. Other code may not use it; a test of the module holds that.
type Given Rows

func (e Given) derive(r *Rows) {
	for _, s := range e.Signals {
		r.signal(s)
	}
	r.Triggers = slices.Concat(r.Triggers, e.Triggers)
	r.Decisions = slices.Concat(r.Decisions, e.Decisions)
	r.Snapshots = slices.Concat(r.Snapshots, e.Snapshots)
	r.Runs = slices.Concat(r.Runs, e.Runs)
	r.Approvals = slices.Concat(r.Approvals, e.Approvals)
	r.Incidents = slices.Concat(r.Incidents, e.Incidents)
	r.Learning = slices.Concat(r.Learning, e.Learning)
	r.Predictions = slices.Concat(r.Predictions, e.Predictions)
	r.Aborts = slices.Concat(r.Aborts, e.Aborts)
	r.Silences = slices.Concat(r.Silences, e.Silences)
	r.Letters = slices.Concat(r.Letters, e.Letters)
	r.Delivered = slices.Concat(r.Delivered, e.Delivered)
	r.Audit = slices.Concat(r.Audit, e.Audit)
	r.Operations = slices.Concat(r.Operations, e.Operations)
	r.Outbox = slices.Concat(r.Outbox, e.Outbox)
	if e.Mode != nil {
		r.Mode = e.Mode
	}
}
