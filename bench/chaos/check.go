package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"grace"
	"grace/internal/store"
)

const pageSize = 200

// all reads every page of a list.
func all[T any](read func(store.Page) ([]T, string, error)) ([]T, error) {
	var out []T
	page := store.Page{Limit: pageSize}
	for {
		items, next, err := read(page)
		if err != nil {
			return nil, err
		}
		out = append(out, items...)
		if next == "" {
			return out, nil
		}
		page.Cursor = next
	}
}

// check reads everything that is on record and judges it.
func check(ctx context.Context, st *store.Store, accepted []grace.ServiceID, effects map[string]int, r *result) error {
	runs, err := all(func(p store.Page) ([]grace.Run, string, error) { return st.Runs(ctx, st.Q(), store.RunFilter{}, p) })
	if err != nil {
		return err
	}
	triggers, err := all(func(p store.Page) ([]grace.Trigger, string, error) {
		return st.Triggers(ctx, st.Q(), store.TriggerFilter{}, p)
	})
	if err != nil {
		return err
	}
	decisions, err := all(func(p store.Page) ([]grace.Decision, string, error) {
		return st.Decisions(ctx, st.Q(), store.DecisionFilter{}, p)
	})
	if err != nil {
		return err
	}
	entries, err := all(func(p store.Page) ([]grace.AuditEntry, string, error) {
		return st.AuditEntries(ctx, st.Q(), store.AuditFilter{}, p)
	})
	if err != nil {
		return err
	}
	report, err := st.VerifyAudit(ctx)
	if err != nil {
		return err
	}
	r.Audit, r.AuditOK = report.Entries, report.OK
	if !report.OK {
		r.violate("the audit log is broken: %+v", report)
	}
	r.Accepted, r.Runs, r.Keys = len(accepted), len(runs), len(effects)
	checkTriggers(r, triggers, decisions, runs)
	checkRuns(r, runs, accepted)
	checkSteps(r, entries)
	checkEffects(r, runs, effects)
	return nil
}

func (r *result) violate(format string, args ...any) {
	r.Violations = append(r.Violations, fmt.Sprintf(format, args...))
}

func (r *result) lose(format string, args ...any) {
	r.Lost++
	r.violate(format, args...)
}

func (r *result) double(format string, args ...any) {
	r.Doubled++
	r.violate(format, args...)
}

// checkTriggers wants every trigger answered: by a decision, or by a run of its service
// that was about the same signal, and had not ended before.
func checkTriggers(r *result, triggers []grace.Trigger, decisions []grace.Decision, runs []grace.Run) {
	answered := func(t grace.Trigger) bool {
		return slices.ContainsFunc(runs, func(run grace.Run) bool {
			return run.Service == t.Service && slices.Contains(run.Condition, t.Signal) && (run.EndedAt == nil || !t.At.After(*run.EndedAt))
		})
	}
	decided := map[grace.TriggerID]bool{}
	for _, d := range decisions {
		for _, id := range d.Triggers {
			decided[id] = true
		}
	}
	for _, t := range triggers {
		if t.State == grace.TriggerPending || !decided[t.ID] && !answered(t) {
			r.lose("trigger %s of %s is %s, decided %v, and no run was about it", t.ID, t.Service, t.State, decided[t.ID])
		}
	}
}

// ofGrace tells whether a run is about a part of GRACE itself, which kills make sick.
func ofGrace(run *grace.Run) bool { return strings.HasPrefix(string(run.Service), "core.") }

// passed tells whether a run was rightly not started: a part of GRACE was well again before.
func passed(run *grace.Run) bool {
	return ofGrace(run) && run.Status == grace.RunCancelled && run.StartedAt == nil
}

func checkRuns(r *result, runs []grace.Run, accepted []grace.ServiceID) {
	count := map[grace.ServiceID]int{}
	states := map[grace.RunStatus]int{}
	for _, run := range runs {
		states[run.Status]++
		if !run.Status.Terminal() {
			r.lose("run %s of %s is %s", run.ID, run.Service, run.Status)
		}
		if run.Status != grace.RunSucceeded && !passed(&run) {
			r.violate("run %s of %s ended %s: %s", run.ID, run.Service, run.Status, run.Error)
		}
		if count[run.Service]++; count[run.Service] > 1 && !ofGrace(&run) {
			r.double("%s has %d runs", run.Service, count[run.Service])
		}
		for _, s := range run.Steps {
			if s.Resumed {
				r.Resumed++
			}
		}
	}
	for _, service := range accepted {
		if count[service] == 0 {
			r.lose("the trigger of %s was accepted and has no run", service)
		}
	}
	var parts []string
	for _, s := range slices.Sorted(maps.Keys(states)) {
		parts = append(parts, fmt.Sprintf("%s %d", s, states[s]))
	}
	r.States = strings.Join(parts, ", ")
}

// checkSteps wants every change of a run to be in the audit log once.
func checkSteps(r *result, entries []grace.AuditEntry) {
	seen := map[string]bool{}
	for _, e := range entries {
		if !strings.HasPrefix(e.Object, "run/") {
			continue
		}
		key := e.Object + " " + e.Action
		switch e.Action {
		case "run.waiting":
			continue
		case "run.step_succeeded", "run.step_failed", "run.step_unknown":
			key += " " + e.Reason
		}
		if seen[key] {
			r.double("%s is on record twice", key)
		}
		seen[key] = true
	}
}

// checkEffects wants every step that is on record as done to have had its
// effect once, and nothing to have had one that is not on record.
func checkEffects(r *result, runs []grace.Run, effects map[string]int) {
	left := maps.Clone(effects)
	for _, run := range runs {
		for _, s := range run.Steps {
			key := string(run.ID) + "/do/" + s.Name
			switch n := effects[key]; {
			case n > 1:
				r.Redone += n - 1
				r.double("%s had its effect %d times", key, n)
			case n == 0 && s.State == grace.StepSucceeded:
				r.violate("%s is on record as done and had no effect", key)
			}
			delete(left, key)
		}
	}
	for key := range left {
		r.violate("%q had an effect and is not on record", key)
	}
}
