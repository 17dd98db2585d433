package api

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"grace"
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
		s := fmt.Sprintf("%s on %s for %s: %s", r.Playbook.ID, r.Service, words(string(r.Code)), runWords(r.State))
		if r.State == grace.RunSucceeded && r.RecoveredIn > 0 {
			s += ", recovered in " + span(r.RecoveredIn.D())
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
		return fmt.Sprintf("For %s the decision was %s: %s.", words(string(d.Diagnosis.Code)), verdictWords(d.Verdict), gateWords(failed[0]))
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
	line := fmt.Sprintf("%s: %s on %s (%s)", clock(t.At), words(string(t.Code)), t.Service, t.Severity)
	if t.Kind == grace.TriggerProactive {
		line = fmt.Sprintf("%s: %s on %s foreseen with likelihood %.2f", clock(t.At), words(string(t.Code)), t.Service, t.Likelihood)
		if t.BreachAt != nil {
			line += ", breach at " + clock(*t.BreachAt)
		}
	}
	if t.Message != "" {
		line += ": " + t.Message
	}
	return line
}

func decisionStages(d *grace.Decision) []Stage {
	g := d.Diagnosis
	diagnosis := Stage{Name: "diagnosis", Title: "Diagnosis", At: &g.At, Lines: []string{
		fmt.Sprintf("%s on %s, likelihood %.2f, impact %s, since %s", words(string(g.Code)), g.Cause, g.Likelihood, g.Impact, clock(g.Since)),
	}}
	for _, e := range g.Evidence {
		diagnosis.Lines = append(diagnosis.Lines, fmt.Sprintf("evidence %.2f: %s", e.Weight, e.Text))
	}
	if len(g.Victims) > 0 {
		diagnosis.Lines = append(diagnosis.Lines, "victims, not treated themselves: "+join(g.Victims))
	}
	out := []Stage{diagnosis}
	if p := d.Proposal; p != nil {
		lines := []string{fmt.Sprintf("%s on %s: risk %s, impact %s, blast radius %d, confidence %.2f", p.Playbook, p.Service, p.Risk, p.Impact, p.BlastRadius, p.Confidence)}
		if p.Trials > 0 {
			lines = append(lines, fmt.Sprintf("learned chance of success %.2f from %.1f trials", p.Score, p.Trials))
		} else {
			lines = append(lines, "not tried here before")
		}
		out = append(out, Stage{Name: "proposal", Title: "Proposal", At: &p.At, Lines: lines})
	}
	gates := Stage{Name: "gates", Title: "Gates", At: &d.At, Gates: d.Reasons}
	verdict := "verdict: " + verdictWords(d.Verdict)
	if d.Policy != "" {
		verdict += " by policy " + d.Policy
	}
	gates.Lines = append(gates.Lines, fmt.Sprintf("%s, mode %s", verdict, words(string(d.Mode))))
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
	s := fmt.Sprintf("%s: %s, required %s", words(r.Gate), orDash(r.Actual), orDash(r.Required))
	if !r.OK {
		s += " (" + string(r.Code) + ")"
		if r.Hint != "" {
			s += "; " + r.Hint
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
	end := Stage{Name: "outcome", Title: "Outcome", At: r.EndedAt, Lines: []string{runWords(r.State)}}
	if r.Abort != nil {
		end.Lines = append(end.Lines, fmt.Sprintf("abort asked by %s%s", r.Abort.Actor, quoted(r.Abort.Reason)))
	}
	for _, reason := range r.Reasons {
		if !reason.OK {
			end.Lines = append(end.Lines, gateWords(reason))
		}
	}
	if r.Error != "" {
		end.Lines = append(end.Lines, r.Error)
	}
	if r.State == grace.RunSucceeded && r.RecoveredIn > 0 {
		end.Lines = append(end.Lines, "recovered in "+span(r.RecoveredIn.D()))
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

func (s *server) whyService(ctx context.Context, in *serviceInput) (*body[Explanation], error) {
	e, err := s.explainService(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	return ok(e)
}

// victimWindow is how far back a diagnosis of another service is looked for
// that names this one as its victim.
const victimWindow = time.Hour

// explainService says what is being done about a service, or why nothing is.
func (s *server) explainService(ctx context.Context, id grace.ServiceID) (Explanation, error) {
	view, err := s.findService(ctx, id)
	if err != nil {
		return Explanation{}, err
	}
	all, err := s.store.Signals(ctx, s.store.Q(), id)
	if err != nil {
		return Explanation{}, stored(err)
	}
	health := Stage{Name: "health", Title: "Health", Lines: []string{
		fmt.Sprintf("%s is %s, %.0f %% of its %d signals have fresh data", id, view.Health.Status, view.Health.Confidence*100, len(all)),
	}}
	e := Explanation{Service: &view.Health}
	for _, sig := range all {
		if sig.State != grace.SignalOK {
			e.Signals = append(e.Signals, sig)
			health.Lines = append(health.Lines, signalLine(sig))
		}
	}
	c, err := s.chainOfService(ctx, id)
	if err != nil {
		return Explanation{}, err
	}
	var noted []string
	if e.Summary, noted, err = s.doing(ctx, view, c); err != nil {
		return Explanation{}, err
	}
	e.Stages = append(e.Stages, health)
	if c.run != nil || c.decision != nil {
		e.Stages = append(e.Stages, c.stages()...)
		e.Run, e.Decision, e.Approval, e.Incident, e.Triggers = c.run, c.decision, c.approval, c.incident, c.triggers
	}
	if len(noted) > 0 {
		e.Stages = append(e.Stages, Stage{Name: "outcome", Title: "Why nothing is being done", Lines: noted})
	}
	e.Text = text(e.Summary, e.Stages)
	return e, nil
}

func signalLine(sig grace.Signal) string {
	line := fmt.Sprintf("%s %s since %s", sig.Metric, sig.State, clock(sig.Since))
	if sig.Code != "" {
		line += ": " + words(string(sig.Code))
	}
	if sig.Threshold != 0 {
		line += fmt.Sprintf(", %g against %g %s", sig.Value, sig.Threshold, sig.Unit)
	}
	if sig.Flapping {
		line += ", flapping"
	}
	if sig.Message != "" {
		line += " (" + sig.Message + ")"
	}
	return strings.TrimSpace(line)
}

// chainOfService is the open run of a service with what led to it, or else
// its last decision.
func (s *server) chainOfService(ctx context.Context, id grace.ServiceID) (chain, error) {
	open := true
	runs, _, err := s.store.Runs(ctx, s.store.Q(), store.RunFilter{Service: id, Open: &open}, store.Page{Limit: 1})
	if err != nil {
		return chain{}, stored(err)
	}
	if len(runs) > 0 {
		return s.chainOfRun(ctx, runs[0])
	}
	var c chain
	if c.decision, err = maybe(s.store.LastDecision(ctx, s.store.Q(), id)); err != nil || c.decision == nil {
		return c, err
	}
	if c.decision.Run != "" {
		run, err := maybe(s.store.Run(ctx, s.store.Q(), c.decision.Run))
		if err != nil {
			return chain{}, err
		}
		if run != nil {
			return s.chainOfRun(ctx, *run)
		}
	}
	return c, s.addTriggers(ctx, &c)
}

// doing words what is being done about a service; notes say why nothing is.
func (s *server) doing(ctx context.Context, view ServiceView, c chain) (summary string, notes []string, err error) {
	id := view.ID
	if c.run != nil && !c.run.State.Terminal() {
		return fmt.Sprintf("GRACE is at it: run %s, %s on %s, is %s.", c.run.ID, c.run.Playbook.ID, id, runWords(c.run.State)), nil, nil
	}
	if view.Health.Status == grace.HealthHealthy {
		return fmt.Sprintf("Nothing is wrong with %s.", id), nil, nil
	}
	cause, err := s.victimOf(ctx, id)
	if err != nil {
		return "", nil, err
	}
	switch {
	case cause != nil:
		line := fmt.Sprintf("its symptoms are put down to %s (%s, likelihood %.2f), which is what GRACE treats", cause.Diagnosis.Cause, words(string(cause.Diagnosis.Code)), cause.Diagnosis.Likelihood)
		return fmt.Sprintf("Nothing is done on %s: %s.", id, line), []string{line, "decision " + string(cause.ID)}, nil
	case c.decision != nil && c.decision.Verdict != grace.VerdictAllow && len(c.decision.Failed()) > 0:
		for _, r := range c.decision.Failed() {
			notes = append(notes, gateWords(r))
		}
		return fmt.Sprintf("Nothing is done on %s: %s.", id, notes[0]), notes, nil
	case c.run != nil:
		notes = []string{fmt.Sprintf("the last run, %s (%s), ended at %s: %s", c.run.ID, c.run.Playbook.ID, clock(deref(c.run.EndedAt)), runWords(c.run.State))}
		if c.run.Error != "" {
			notes = append(notes, c.run.Error)
		}
	case view.Health.Status == grace.HealthUnknown:
		notes = []string{"no sensor has fresh data about it, and no data is never taken for health or for sickness; look at the sensors"}
	default:
		notes = []string{"no decision on it is recorded yet: its symptoms have not made a diagnosis"}
	}
	return fmt.Sprintf("Nothing is done on %s: %s.", id, notes[0]), notes, nil
}

// victimOf finds the newest decision whose diagnosis explains the symptoms of
// a service by another one.
func (s *server) victimOf(ctx context.Context, id grace.ServiceID) (*grace.Decision, error) {
	decisions, _, err := s.store.Decisions(ctx, s.store.Q(), store.DecisionFilter{From: s.now().Add(-victimWindow)}, store.Page{Limit: 50})
	if err != nil {
		return nil, stored(err)
	}
	for _, d := range decisions {
		if d.Diagnosis.Cause == id {
			return nil, nil //nolint:nilnil // it was found to be a cause itself
		}
		if slices.Contains(d.Diagnosis.Victims, id) {
			return &d, nil
		}
	}
	return nil, nil //nolint:nilnil // absent is an answer here
}
