package sim

import (
	"fmt"
	"slices"
	"time"

	"grace"
)

// checker is one invariant: it gives what is against it.
type checker struct {
	name  string
	check func(s *Sim, r *record) []string
}

// checkers are all invariants. None asks the stages: each computes from the
// log, the story and the calls that the world saw.
func checkers() []checker {
	return []checker{
		{"allowed_first", allowedFirst},
		{"one_run_per_cone", oneRunPerCone},
		{"rate_limit", rateLimit},
		{"backoff", backoff},
		{"duplicates", duplicates},
		{"crash_loop", crashLoop},
		{"guardrails", guardrails},
		{"change_window", changeWindow},
		{"concurrency", concurrency},
		{"mode", modeHeld},
		{"failure_is_undone", failureIsUndone},
		{"a_person_first", aPersonFirst},
		{"success_is_true", func(s *Sim, _ *record) []string { return s.untrue }},
		{"undone_once", undoneOnce},
		{"no_step_repeated", noStepRepeated},
		{"audit_chain", auditChain},
		{"quiet_when_well", quietWhenWell},
		{"every_run_ends", everyRunEnds},
		{"every_trigger_decided", everyTriggerDecided},
		{"fresh_evidence", func(s *Sim, _ *record) []string { return s.unproven }},
		{"no_silence", func(s *Sim, _ *record) []string { return s.silent }},
		{"questions_are_told", questionsAreTold},
		{"one_decision_per_trigger", oneDecision},
		{"decisions_replay", replays},
		{"nothing_breaks_off", func(s *Sim, _ *record) []string { return s.broken }},
	}
}

func (s *Sim) check(r *record) []Violation {
	var out []Violation
	for _, c := range checkers() {
		for _, detail := range c.check(s, r) {
			out = append(out, Violation{c.name, detail})
		}
	}
	return out
}

// allowedFirst: no action without an allow, or a person's approval, that stands
// before it in the log.
func allowedFirst(s *Sim, r *record) (bad []string) {
	for _, c := range s.calls {
		l := r.Lives[c.Run]
		if l == nil || l.allowed == 0 || l.allowed > c.Seq {
			bad = append(bad, fmt.Sprintf("%s %s of run %s on %s at %s: nothing in the log allows it by entry %d",
				c.Phase, c.Action, c.Run, c.Service, s.since(c.At), c.Seq))
		}
	}
	return bad
}

// acting gives the runs that did something, with when they did.
func (r *record) acting() []*life {
	var out []*life
	for _, run := range r.Runs {
		l := r.Lives[run.ID]
		if l.beganSeq == 0 {
			continue
		}
		if l.endedSeq == 0 {
			l.ended, l.endedSeq = r.End, 1<<62
		}
		out = append(out, l)
	}
	return out
}

// together tells whether two runs acted at the same time. The log's order
// counts, not the clocks, which may be skewed.
func (l *life) together(o *life) bool { return l.beganSeq < o.endedSeq && o.beganSeq < l.endedSeq }

func oneRunPerCone(s *Sim, r *record) (bad []string) {
	lives := r.acting()
	for i, a := range lives {
		for _, b := range lives[i+1:] {
			if a.together(b) && s.related(a.run.Service, b.run.Service) {
				bad = append(bad, fmt.Sprintf("%s on %s and %s on %s acted at once (entries %d to %d and %d to %d)",
					a.id, a.run.Service, b.id, b.run.Service, a.beganSeq, a.endedSeq, b.beganSeq, b.endedSeq))
			}
		}
	}
	return bad
}

// related tells whether one service is the other or depends on it, by a walk of
// its own over the story's edges.
func (s *Sim) related(a, b grace.ServiceID) bool {
	return a == b || slices.Contains(s.reach(a, false), b) || slices.Contains(s.reach(b, false), a)
}

// reach gives what a service depends on, or what depends on it.
func (s *Sim) reach(from grace.ServiceID, dependents bool) []grace.ServiceID {
	seen := []grace.ServiceID{from}
	for i := 0; i < len(seen); i++ {
		for _, n := range s.story.Services {
			for _, d := range n.DependsOn {
				a, b := n.ID, d
				if dependents {
					a, b = b, a
				}
				if a == seen[i] && !slices.Contains(seen, b) {
					seen = append(seen, b)
				}
			}
		}
	}
	return seen[1:]
}

// counted tells whether a run counts for limits.
func counted(run grace.Run) bool { return run.Status != grace.RunObservedOnly }

func rateLimit(s *Sim, r *record) (bad []string) {
	if s.maxSkew() > 2*time.Minute {
		return nil // what is dated ahead of the clock counts for no limit
	}
	const perHour = 3
	for i, run := range r.Runs {
		if !counted(run) {
			continue
		}
		n := 0
		for _, o := range r.Runs[:i] {
			if counted(o) && o.Service == run.Service && run.CreatedAt.Sub(o.CreatedAt) < time.Hour {
				n++
			}
		}
		if n >= perHour {
			bad = append(bad, fmt.Sprintf("%s on %s at %s is the %dth within an hour", run.ID, run.Service, s.since(run.CreatedAt), n+1))
		}
	}
	return bad
}

// backoff: after k failures in a row for the same condition no run starts for
// 5 min doubled k-1 times, less a fifth for the jitter.
func backoff(s *Sim, r *record) (bad []string) {
	for _, run := range r.Runs {
		failures, last := 0, time.Time{}
		for _, o := range r.endedBefore(run) {
			switch {
			case o.Abort != nil: // a person stopped it, which says nothing of the remedy
			case o.Status == grace.RunSucceeded:
				failures = 0
			case slices.Contains([]grace.RunStatus{grace.RunIneffective, grace.RunRolledBack, grace.RunEscalated, grace.RunAborted}, o.Status):
				failures++
				last = *o.EndedAt
			}
		}
		if failures == 0 || !counted(run) {
			continue
		}
		wait := 5 * time.Minute << (failures - 1) * 8 / 10
		if got := run.CreatedAt.Sub(last); got < wait-s.maxSkew() {
			bad = append(bad, fmt.Sprintf("%s on %s at %s, %s after failure %d: want %s", run.ID, run.Service, s.since(run.CreatedAt), got, failures, wait))
		}
	}
	return bad
}

// endedBefore gives the runs for the same condition that had ended when run was
// made, in the order of their ends.
func (r *record) endedBefore(run grace.Run) []grace.Run {
	var out []grace.Run
	for _, o := range r.Runs {
		if o.Service == run.Service && o.Code == run.Code && o.ID != run.ID && o.EndedAt != nil && o.EndedAt.Before(run.CreatedAt) {
			out = append(out, o)
		}
	}
	slices.SortStableFunc(out, func(a, b grace.Run) int { return a.EndedAt.Compare(*b.EndedAt) })
	return out
}

// duplicates: one run at a time for a condition, and the same remedy not again
// for 10 minutes, unless the condition was healed and has come back since, or
// had passed before anything was done.
func duplicates(s *Sim, r *record) (bad []string) {
	for i, run := range r.Runs {
		for _, o := range r.Runs[:i] {
			if o.Service != run.Service || o.Code != run.Code || !counted(run) || !counted(o) {
				continue
			}
			gap := run.CreatedAt.Sub(o.CreatedAt)
			open := o.EndedAt == nil || o.EndedAt.After(run.CreatedAt.Add(s.maxSkew()))
			again := o.Playbook.ID == run.Playbook.ID && gap < 10*time.Minute-s.maxSkew() && !s.anew(o, run)
			if again || open {
				bad = append(bad, fmt.Sprintf("%s and %s: %s for %s on %s, %s apart", o.ID, run.ID, run.Playbook.ID, run.Code, run.Service, gap))
			}
		}
	}
	return bad
}

// anew tells whether a run is about a new occurrence of what an older one was
// about.
func (s *Sim) anew(o, run grace.Run) bool {
	switch {
	case o.EndedAt == nil:
		return false
	case o.Status == grace.RunSucceeded:
		return run.Kind != grace.TriggerProactive && run.SickSince.Add(s.maxSkew()).After(*o.EndedAt)
	default:
		return o.Status == grace.RunCancelled && o.Abort == nil
	}
}

// crashLoop: what comes back after it was healed is healed again at once; what
// comes back again waits for 5 min, doubled each time, less a fifth.
func crashLoop(s *Sim, r *record) (bad []string) {
	for _, run := range r.Runs {
		healed, last, since := 0, time.Time{}, run.SickSince
		for _, o := range slices.Backward(r.endedBefore(run)) {
			if o.Status != grace.RunSucceeded {
				continue
			}
			if since.Sub(*o.EndedAt) > 2*time.Hour {
				break
			}
			if healed++; healed == 1 {
				last = *o.EndedAt
			}
			since = o.CreatedAt
		}
		if healed < 2 || !counted(run) {
			continue
		}
		wait := 5 * time.Minute << (healed - 2) * 8 / 10
		if got := run.CreatedAt.Sub(last); got < wait-s.maxSkew() {
			bad = append(bad, fmt.Sprintf("%s on %s at %s, %s after it was healed %d times: want %s", run.ID, run.Service, s.since(run.CreatedAt), got, healed, wait))
		}
	}
	return bad
}

// questionsAreTold: every run that waits for a person is on the outbox within
// seconds.
func questionsAreTold(s *Sim, r *record) (bad []string) {
	for _, run := range r.Runs {
		d := r.Decisions[run.Decision]
		if d.Verdict != grace.VerdictRequireApproval || run.Status == grace.RunObservedOnly {
			continue
		}
		at, told := r.Asked[run.ID]
		if !told || at.Sub(run.CreatedAt) > 5*second+s.maxSkew() {
			bad = append(bad, fmt.Sprintf("%s of %s on %s waits for a person since %s, and nobody is told", run.ID, run.Playbook.ID, run.Service, s.since(run.CreatedAt)))
		}
	}
	return bad
}

func (s *Sim) maxSkew() time.Duration {
	var most float64
	for _, e := range s.story.Events {
		if e.Kind == Skew || e.Kind == ClockStep {
			most = max(most, 2*e.Amount, -2*e.Amount)
		}
	}
	return time.Duration(most * float64(second))
}

// guardrails: what ran without a person was marked auto, of low or medium risk
// and impact, on no critical service, with at most two dependents, and sure
// enough.
func guardrails(s *Sim, r *record) (bad []string) {
	for _, run := range r.Runs {
		p := r.Decisions[run.Decision].Proposal
		if !run.Auto || p == nil {
			continue
		}
		i := slices.IndexFunc(s.story.Services, func(n Node) bool { return n.ID == run.Service })
		node := s.story.Services[i]
		fault := func(what string, got any) {
			bad = append(bad, fmt.Sprintf("%s on %s ran without a person: %s %v", run.ID, run.Service, what, got))
		}
		if n := len(s.reach(run.Service, true)); n > 2 {
			fault("blast radius", n)
		}
		if node.Criticality == grace.CriticalityCritical {
			fault("criticality", node.Criticality)
		}
		if !run.Playbook.Auto || (run.Playbook.ID == "restart_service" && !node.Auto) {
			fault("playbook", run.Playbook.ID)
		}
		if run.Playbook.Risk != grace.RiskLow && run.Playbook.Risk != grace.RiskMedium {
			fault("risk", run.Playbook.Risk)
		}
		sure := 0.7
		if run.Kind == grace.TriggerProactive {
			sure = 0.8
			if s.story.Shadow {
				fault("prediction in", "shadow")
			}
		}
		if p.Confidence < sure {
			fault("confidence", p.Confidence)
		}
	}
	return bad
}

func changeWindow(s *Sim, r *record) (bad []string) {
	if len(s.story.Windows) == 0 {
		return nil
	}
	for _, l := range r.acting() {
		at := l.began.Sub(s.epoch)
		if !slices.ContainsFunc(s.story.Windows, func(w Span) bool { return at >= w.From && at < w.To }) {
			bad = append(bad, fmt.Sprintf("%s on %s began at %s, outside %v", l.id, l.run.Service, at, s.story.Windows))
		}
	}
	return bad
}

func concurrency(_ *Sim, r *record) (bad []string) {
	lives := r.acting()
	for _, l := range lives {
		n := 0
		for _, o := range lives {
			if o.beganSeq < l.beganSeq && l.beganSeq < o.endedSeq {
				n++
			}
		}
		if n >= maxConcurrent {
			bad = append(bad, fmt.Sprintf("%s on %s began while %d were acting", l.id, l.run.Service, n))
		}
	}
	return bad
}

// modeHeld: what begins, begins in a mode that lets it.
func modeHeld(s *Sim, r *record) (bad []string) {
	mode := s.story.Mode
	for _, e := range r.Audit {
		if e.Object == "mode" {
			mode = grace.Mode(e.Action[len("mode."):])
		}
		if e.Action != "run.running" {
			continue
		}
		l := r.Lives[grace.RunID(e.Object[len("run/"):])]
		if mode == grace.ModeStopped || mode == grace.ModeObserveOnly || mode == grace.ModeAskAlways && l.run.Auto {
			bad = append(bad, fmt.Sprintf("%s on %s began in mode %s", l.id, l.run.Service, mode))
		}
	}
	return bad
}

func (s *Sim) since(t time.Time) time.Duration { return t.Sub(s.epoch) }
