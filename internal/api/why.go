package api

import (
	"context"
	"errors"
	"fmt"
	"time"

	"grace"
	"grace/internal/explain"
	"grace/internal/store"
)

// Explanation says why something was done, or why it was not: stage by stage,
// for a reader, with the records it rests on.
type Explanation struct {
	Summary  string             `json:"summary" doc:"the answer in one sentence"`
	Text     string             `json:"text" doc:"the whole chain as plain text"`
	Stages   []Stage            `json:"stages" doc:"in the order things happened"`
	Service  *grace.HealthState `json:"service,omitempty"`
	Signals  []grace.Signal     `json:"signals,omitempty" doc:"of a service: those that are not ok"`
	Triggers []grace.Trigger    `json:"triggers,omitempty"`
	Decision *grace.Decision    `json:"decision,omitempty"`
	Approval *grace.Approval    `json:"approval,omitempty"`
	Run      *grace.Run         `json:"run,omitempty"`
	Incident *grace.Incident    `json:"incident,omitempty"`
}

// Stage is one link of the chain.
type Stage struct {
	Name  string         `json:"name" enum:"health,trigger,diagnosis,proposal,gates,approval,steps,verification,outcome"`
	Title string         `json:"title"`
	Lines []string       `json:"lines"`
	Gates []grace.Reason `json:"gates,omitempty" doc:"of stage gates: gate, actual, required"`
	At    *time.Time     `json:"at,omitempty"`
}

// chain gathers the records around a decision and the run it led to.
type chain struct {
	run      *grace.Run
	decision *grace.Decision
	approval *grace.Approval
	incident *grace.Incident
	triggers []grace.Trigger
	// Of a service whose condition has no decision yet:
	since    time.Time       // when it became what it is now
	earlier  *grace.Decision // about what was wrong a while before, as when it flaps
	changing string          // the metric that keeps changing, if one does
}

// maybe makes a missing row a nil: retention may have taken it.
func maybe[T any](v T, err error) (*T, error) {
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil //nolint:nilnil // absent is an answer here
	}
	if err != nil {
		return nil, stored(err)
	}
	return &v, nil
}

func (s *server) chainOfRun(ctx context.Context, run grace.Run) (chain, error) {
	c := chain{run: &run}
	q := s.store.Q()
	var err error
	if run.Decision != "" {
		if c.decision, err = maybe(s.store.Decision(ctx, q, run.Decision)); err != nil {
			return chain{}, err
		}
	}
	if c.approval, err = maybe(s.store.Approval(ctx, q, grace.ApprovalID(run.ID))); err != nil {
		return chain{}, err
	}
	if run.Incident != "" {
		if c.incident, err = maybe(s.store.Incident(ctx, q, run.Incident)); err != nil {
			return chain{}, err
		}
	}
	return c, s.addTriggers(ctx, &c)
}

func (s *server) addTriggers(ctx context.Context, c *chain) error {
	if c.decision == nil {
		return nil
	}
	for _, id := range c.decision.Triggers {
		t, err := maybe(s.store.Trigger(ctx, s.store.Q(), id))
		if err != nil {
			return err
		}
		if t != nil {
			c.triggers = append(c.triggers, *t)
		}
	}
	return nil
}

func (s *server) whyRun(ctx context.Context, in *runInput) (*body[Explanation], error) {
	run, err := s.store.Run(ctx, s.store.Q(), in.ID)
	if err != nil {
		return nil, stored(err)
	}
	c, err := s.chainOfRun(ctx, run)
	if err != nil {
		return nil, err
	}
	return ok(c.explain())
}

func (c chain) explain() Explanation {
	e := Explanation{
		Summary: c.summary(), Stages: c.stages(),
		Triggers: c.triggers, Decision: c.decision, Approval: c.approval, Run: c.run, Incident: c.incident,
	}
	e.Text = text(e.Summary, e.Stages)
	return e
}

func (c chain) summary() string {
	switch {
	case c.run != nil:
		r := c.run
		s := fmt.Sprintf("%s on %s for %s: %s", r.Playbook.ID, r.Service, cause(*r), runNow(*r))
		switch {
		case r.Status == grace.RunSucceeded && r.RecoveredIn > 0:
			s += ", recovered in " + span(r.RecoveredIn.D())
		case r.Status == grace.RunSucceeded && r.Unsure():
			s += "; " + explain.Unsure
		}
		if r.Error != "" {
			s += ": " + r.Error
		}
		return s + "."
	case c.decision != nil:
		d := c.decision
		failed := d.Failed()
		if len(failed) == 0 {
			return fmt.Sprintf("The decision on %s was %s.", d.Service, verdictWords(d.Verdict))
		}
		return fmt.Sprintf("For %s the decision was %s: %s.", humanize(string(d.Diagnosis.Code)), verdictWords(d.Verdict), gateWords(failed[0]))
	}
	return "Nothing is recorded."
}

func (c chain) stages() []Stage {
	var out []Stage
	if len(c.triggers) > 0 {
		st := Stage{Name: "trigger", Title: "Trigger", At: &c.triggers[0].At}
		for _, t := range c.triggers {
			st.Lines = append(st.Lines, triggerLine(t))
		}
		out = append(out, st)
	}
	if c.decision != nil {
		out = append(out, decisionStages(c.decision)...)
	}
	if c.approval != nil {
		out = append(out, approvalStage(c.approval))
	}
	if c.run != nil {
		out = append(out, runStages(c.run, c.incident)...)
	}
	return out
}

func triggerLine(t grace.Trigger) string {
	line := fmt.Sprintf("%s: %s on %s (%s)", clock(t.At), humanize(string(t.Code)), t.Service, t.Severity)
	if t.Kind == grace.TriggerProactive {
		line = fmt.Sprintf("%s: %s on %s foreseen with likelihood %.2f", clock(t.At), humanize(string(t.Code)), t.Service, t.Likelihood)
		if t.BreachAt != nil {
			line += ", breach at " + clock(*t.BreachAt)
		}
	}
	if t.Message != "" {
		line += ": " + t.Message
	}
	return line
}

func diagnosisLine(g grace.Diagnosis) string {
	line := "nothing was diagnosed on " + string(g.Cause)
	if g.Code != "" {
		line = fmt.Sprintf("%s on %s", humanize(string(g.Code)), g.Cause)
	}
	return line + DiagnosisFacts(g, clock)
}

// DiagnosisFacts words how sure a diagnosis is, how bad and since when; at words a time.
// One of a trigger that nothing took up has neither likelihood nor impact.
func DiagnosisFacts(g grace.Diagnosis, at func(time.Time) string) string {
	line := ""
	if g.Likelihood > 0 {
		line += fmt.Sprintf(", likelihood %.2f", g.Likelihood)
	}
	if g.Impact != "" {
		line += ", impact " + string(g.Impact)
	}
	if !g.Since.IsZero() {
		line += ", since " + at(g.Since)
	}
	return line
}

func decisionStages(d *grace.Decision) []Stage {
	g := d.Diagnosis
	diagnosis := Stage{Name: "diagnosis", Title: "Diagnosis", At: &g.At, Lines: []string{
		diagnosisLine(g),
	}}
	for _, e := range g.Evidence {
		diagnosis.Lines = append(diagnosis.Lines, fmt.Sprintf("evidence %.2f: %s", e.Weight, e.Text))
	}
	if len(g.Victims) > 0 {
		diagnosis.Lines = append(diagnosis.Lines, "victims, not treated themselves: "+explain.List(g.Victims))
	}
	out := []Stage{diagnosis}
	if p := d.Proposal; p != nil {
		lines := []string{fmt.Sprintf("%s on %s: risk %s, impact %s, blast radius %d, confidence %.2f", p.Playbook, p.Service, p.Risk, p.Impact, p.BlastRadius, p.Confidence)}
		if p.Trials > 0 {
			lines = append(lines, fmt.Sprintf("learned chance of success %.2f from %.1f trials", p.Score, p.Trials))
		} else {
			lines = append(lines, "not tried here before")
		}
		for _, c := range d.Candidates {
			if !c.Chosen && c.Refused != nil {
				lines = append(lines, "not "+explain.Candidate(c))
			} else if !c.Chosen {
				lines = append(lines, "rather than "+explain.Candidate(c))
			}
		}
		out = append(out, Stage{Name: "proposal", Title: "Proposal", At: &p.At, Lines: lines})
	}
	gates := Stage{Name: "gates", Title: "Gates", At: &d.At, Gates: d.Reasons}
	verdict := "verdict: " + verdictWords(d.Verdict)
	if d.Policy != "" {
		verdict += " by policy " + d.Policy
	}
	gates.Lines = append(gates.Lines, fmt.Sprintf("%s, mode %s", verdict, humanize(string(d.Mode))))
	for _, r := range d.Reasons {
		mark := "yes"
		if !r.OK {
			mark = "NO "
		}
		gates.Lines = append(gates.Lines, fmt.Sprintf("%s %s", mark, gateWords(r)))
	}
	return append(out, gates)
}

func gateWords(r grace.Reason) string {
	s := fmt.Sprintf("%s: %s, required %s", humanize(r.Gate), explain.Actual(r), explain.Required(r))
	if !r.OK {
		s += " (" + string(r.Code) + ")"
		if hint := explain.Hint(r); hint != "" {
			s += "; " + hint
		}
	}
	return s
}

func approvalStage(a *grace.Approval) Stage {
	st := Stage{Name: "approval", Title: "Approval", At: &a.At}
	switch a.State {
	case grace.ApprovalPending:
		st.Lines = []string{fmt.Sprintf("asked at %s, open until %s", clock(a.At), clock(a.Expires))}
	case grace.ApprovalExpired:
		st.Lines = []string{fmt.Sprintf("asked at %s, nobody answered until %s", clock(a.At), clock(a.Expires))}
	case grace.ApprovalApproved, grace.ApprovalDenied, grace.ApprovalCancelled:
		st.Lines = []string{fmt.Sprintf("%s by %s%s", a.State, orDash(a.Actor), quoted(a.Reason))}
		if a.DecidedAt != nil {
			st.Lines[0] = clock(*a.DecidedAt) + ": " + st.Lines[0]
		}
	}
	return st
}

func runStages(r *grace.Run, incident *grace.Incident) []Stage {
	var out []Stage
	if len(r.Steps) > 0 {
		st := Stage{Name: "steps", Title: "Steps", At: r.StartedAt}
		for _, step := range r.Steps {
			if step.Phase != grace.PhaseVerify {
				st.Lines = append(st.Lines, stepLine(step))
			}
		}
		out = append(out, st)
	}
	if len(r.Checks) > 0 {
		st := Stage{Name: "verification", Title: "Verification"}
		for _, c := range r.Checks {
			mark := "failed"
			if c.Passed {
				mark = "passed"
			}
			st.Lines = append(st.Lines, fmt.Sprintf("%s %s: wanted %s, actual %s, %d of %d probes passed", checkName(c.Name, c.Type), mark, c.Wanted, c.Actual, c.Samples-c.Failed, c.Samples))
		}
		out = append(out, st)
	}
	end := Stage{Name: "outcome", Title: "Outcome", At: r.EndedAt, Lines: []string{runNow(*r)}}
	if r.Abort != nil {
		end.Lines = append(end.Lines, fmt.Sprintf("abort asked by %s%s", r.Abort.Actor, quoted(r.Abort.Reason)))
	}
	for _, reason := range r.Reasons {
		if !reason.OK && explain.Waits(*r) == "" { // which the first line says
			end.Lines = append(end.Lines, gateWords(reason))
		}
	}
	if r.Error != "" {
		end.Lines = append(end.Lines, r.Error)
	}
	switch {
	case r.Status == grace.RunSucceeded && r.RecoveredIn > 0:
		end.Lines = append(end.Lines, "recovered in "+span(r.RecoveredIn.D()))
	case r.Status == grace.RunSucceeded && r.Unsure():
		end.Lines = append(end.Lines, explain.Unsure)
	}
	if incident != nil {
		end.Lines = append(end.Lines, fmt.Sprintf("incident %s (%s): %s", incident.ID, incident.State, incident.Title))
	}
	return append(out, end)
}

func stepLine(st grace.StepRecord) string {
	line := fmt.Sprintf("%s (%s) %s", st.Name, st.Action, st.State)
	if st.Phase == grace.PhaseUndo {
		line = "undo of " + line
	}
	if st.StartedAt != nil {
		line = clock(*st.StartedAt) + ": " + line
		if st.EndedAt != nil {
			line += " in " + span(st.EndedAt.Sub(*st.StartedAt))
		}
	}
	if st.Attempts > 1 {
		line += fmt.Sprintf(" after %d tries", st.Attempts)
	}
	if st.Resumed {
		line += ", resumed by another process"
	}
	if st.Error != "" {
		line += ": " + st.Error
	}
	return line
}
