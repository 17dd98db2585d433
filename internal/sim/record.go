package sim

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"grace"
	"grace/internal/store"
)

// record is what a simulation left behind: the log, read back from the store,
// and what the world saw.
type record struct {
	Audit     []grace.AuditEntry // oldest first
	Signals   []grace.AuditEntry // of the operational log, oldest first
	Runs      []grace.Run        // oldest first
	Decisions map[grace.DecisionID]grace.Decision
	Pending   []grace.Trigger
	Report    store.AuditReport
	Lives     map[grace.RunID]*life
	Asked     map[grace.RunID]time.Time // when the outbox said so
	End       time.Time
}

// life is a run as the audit log tells it.
type life struct {
	id             grace.RunID
	run            grace.Run
	created        time.Time
	allowed        int64 // seq of the entry that let it act, 0 if there is none
	began, ended   time.Time
	beganSeq       int64
	endedSeq       int64
	failed         int64 // a step or verification failed
	rolling        int64
	succeeded      int64
	undone         map[string]int
	done           map[string]int64 // step by the entry that says it is done
	ends           int
	verifiedFailed bool
}

func (s *Sim) read() (*record, error) {
	q := s.store.Q()
	r := &record{Decisions: map[grace.DecisionID]grace.Decision{}, Lives: map[grace.RunID]*life{}, Asked: map[grace.RunID]time.Time{}, End: s.now}
	if s.mutations.ForgeLog {
		if _, err := q.Exec(s.ctx, "INSERT INTO grace_audit_log SELECT seq + 1000000, at, actor, action, object, service, reason, detail, leaf, prev_hash, hash FROM grace_audit_log WHERE seq = 1"); err != nil {
			return nil, fmt.Errorf("forge the log: %w", err)
		}
	}
	var err error
	if r.Report, err = s.store.VerifyAudit(s.ctx); err != nil {
		return nil, err
	}
	if r.Audit, err = s.entries(s.store.AuditEntries); err != nil {
		return nil, err
	}
	if r.Signals, err = s.entries(s.store.Operations); err != nil {
		return nil, err
	}
	r.Signals = slices.DeleteFunc(r.Signals, func(e grace.AuditEntry) bool { return !strings.HasPrefix(e.Action, "signal.") })
	for p := (store.Page{Limit: store.MaxLimit}); ; {
		list, next, err := s.store.Runs(s.ctx, q, store.RunFilter{}, p)
		if err != nil {
			return nil, err
		}
		r.Runs = append(r.Runs, list...)
		if p.Cursor = next; next == "" {
			break
		}
	}
	r.sortRuns()
	for _, run := range r.Runs {
		dec, err := s.store.Decision(s.ctx, q, run.Decision)
		if err != nil {
			return nil, err
		}
		r.Decisions[dec.ID] = dec
	}
	if r.Pending, err = s.store.PendingTriggers(s.ctx, q, 500); err != nil {
		return nil, err
	}
	r.follow()
	return r, s.readAsked(r)
}

// sortRuns puts the oldest first, as the log has them: a clock that was set back
// dates a later one before it.
func (r *record) sortRuns() {
	first := map[string]int64{}
	for _, e := range r.Audit {
		if _, seen := first[e.Object]; !seen {
			first[e.Object] = e.Seq
		}
	}
	slices.SortFunc(r.Runs, func(a, b grace.Run) int {
		return cmp.Or(cmp.Compare(first["run/"+string(a.ID)], first["run/"+string(b.ID)]), a.CreatedAt.Compare(b.CreatedAt), cmp.Compare(a.ID, b.ID))
	})
}

// readAsked reads from the outbox which questions it told of.
func (s *Sim) readAsked(r *record) error {
	if s.mutations.NoQuestion {
		return nil
	}
	for after := int64(0); ; {
		events, err := s.store.Events(s.ctx, s.store.Q(), after, []string{"self_heal.run.awaiting_approval"}, 500)
		if err != nil || len(events) == 0 {
			return err
		}
		for _, e := range events {
			after = e.ID
			r.Asked[grace.RunID(strings.TrimPrefix(e.Resource, "run/"))] = e.Timestamp
		}
	}
}

// follow reads the life of every run from the audit log.
func (r *record) follow() {
	for _, run := range r.Runs {
		r.Lives[run.ID] = &life{id: run.ID, run: run, created: run.CreatedAt, undone: map[string]int{}, done: map[string]int64{}}
	}
	for _, e := range r.Audit {
		kind, id, _ := strings.Cut(e.Object, "/")
		if kind == "decision" && e.Action == "decision.allow" {
			var d struct {
				Run grace.RunID `json:"run"`
			}
			if json.Unmarshal(e.Detail, &d) == nil && r.Lives[d.Run] != nil {
				r.Lives[d.Run].allowed = e.Seq
			}
		}
		l := r.Lives[grace.RunID(id)]
		if l == nil {
			continue
		}
		switch {
		case kind == "approval" && e.Action == "approval.approved" && l.allowed == 0:
			l.allowed = e.Seq
		case kind == "run":
			l.add(e)
		}
	}
}

func (l *life) add(e grace.AuditEntry) {
	action := strings.TrimPrefix(e.Action, "run.")
	if grace.RunStatus(action).Terminal() {
		l.ends++
		l.ended, l.endedSeq = e.At, e.Seq
	}
	switch action {
	case "running":
		l.began, l.beganSeq = e.At, e.Seq
	case "step_succeeded":
		l.done[e.Reason] = e.Seq
	case "verifying":
		l.done[strings.TrimPrefix(e.Reason, "after step ")] = e.Seq
	case "step_failed", "step_unknown", "verification_failed":
		l.failed = e.Seq
		l.verifiedFailed = l.verifiedFailed || action == "verification_failed"
	case "rolling_back":
		l.rolling = e.Seq
	case "step_undone":
		l.undone[e.Reason]++
	case "succeeded":
		l.succeeded = e.Seq
	}
}

// entries reads a log, the oldest entry first.
func (s *Sim) entries(read func(context.Context, store.Querier, store.AuditFilter, store.Page) ([]grace.AuditEntry, string, error)) ([]grace.AuditEntry, error) {
	var out []grace.AuditEntry
	for p := (store.Page{Limit: store.MaxLimit}); ; {
		list, next, err := read(s.ctx, s.store.Q(), store.AuditFilter{}, p)
		if err != nil {
			return nil, err
		}
		out = append(out, list...)
		if p.Cursor = next; next == "" {
			break
		}
	}
	slices.Reverse(out)
	return out, nil
}
