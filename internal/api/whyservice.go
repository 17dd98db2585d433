package api

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"grace"
	"grace/internal/explain"
	"grace/internal/healthgraph"
	"grace/internal/loop"
	"grace/internal/store"
)

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

// earlierWindow is how old a decision may be that is named although the condition has
// changed since.
const earlierWindow = 15 * time.Minute

// explainService says what is being done about a service, or why nothing is.
func (s *server) explainService(ctx context.Context, id grace.ServiceID) (Explanation, error) {
	all, err := s.store.Signals(ctx, s.store.Q(), id)
	if err != nil {
		return Explanation{}, stored(err)
	}
	all = s.core.Latest(all)
	view, err := s.findService(ctx, id)
	switch {
	case err != nil && len(all) > 0: // nobody declared it, but people are told of it
		view = ServiceView{Service: grace.Service{ID: id}, Health: healthgraph.Assess(id, all, s.now())}
	case err != nil:
		return Explanation{}, err
	}
	q, err := s.silencer(ctx)
	if err != nil {
		return Explanation{}, err
	}
	signals, waiting := len(all), ""
	if signals == 0 {
		signals, waiting = waits(q.symptoms[id])
	}
	health := Stage{Name: "health", Title: "Health", Lines: []string{
		fmt.Sprintf("%s is %s, %.0f %% of its %d signals have fresh data", id, view.Health.Status, view.Health.Confidence*100, signals),
	}}
	switch {
	case waiting != "":
		health.Lines = append(health.Lines, waiting)
	case signals == 0:
		health.Lines = append(health.Lines, "nothing judges it yet: that takes a probe, an alert or an objective; a metric alone, measured or sent, does not say what is bad")
	}
	e := Explanation{Service: &view.Health}
	for _, sig := range all {
		if sig.State != grace.SignalOK {
			e.Signals = append(e.Signals, sig)
			health.Lines = append(health.Lines, signalLine(sig))
		}
	}
	c, err := s.chainOfService(ctx, id, sickSince(all))
	if err != nil {
		return Explanation{}, err
	}
	c.changing = changing(all)
	var noted []string
	recent, err := s.recentDecisions(ctx)
	if err != nil {
		return Explanation{}, err
	}
	e.Summary, noted = doing(view, c, recent, func(other grace.ServiceID) []SilencedBy {
		if service, err := s.findService(ctx, other); err == nil {
			return q.of(service.Service)
		}
		return q.of(grace.Service{ID: other})
	})
	if waiting != "" && len(noted) == 1 && c.run == nil && c.decision == nil && view.Health.Status == grace.HealthUnknown {
		e.Summary, noted = fmt.Sprintf("Nothing is done on %s: %s.", id, waiting), []string{waiting}
	}
	if line := silencedAtSource(all); line != "" && (c.run == nil || c.run.Status.Terminal()) {
		e.Summary, noted = fmt.Sprintf("Nothing is done on %s: %s.", id, line), append([]string{line}, noted...)
	}
	e.Stages = append(e.Stages, health)
	if c.run != nil || c.decision != nil {
		e.Stages = append(e.Stages, c.stages()...)
		e.Run, e.Decision, e.Approval, e.Incident, e.Triggers = c.run, c.decision, c.approval, c.incident, c.triggers
	}
	if len(noted) > 0 {
		e.Stages = append(e.Stages, Stage{Name: "outcome", Title: "Why nothing is being done", Lines: noted})
	}
	if unready := s.process.Unready(); unready != "" {
		e.Summary = "What is shown may be old, for GRACE cannot work: " + unready + ". " + e.Summary
	}
	e.Text = text(e.Summary, e.Stages)
	return e, nil
}

// waits tells which signals of a service, of which none is stored, are configured and
// have had no sample yet, and how many they are.
func waits(s loop.Symptoms) (n int, words string) {
	if s.Count == 0 || s.Worst.State != grace.SignalUnknown {
		return 0, ""
	}
	words = s.Worst.Metric
	if s.Worst.Sensor != "" {
		words += " of sensor " + s.Worst.Sensor
	}
	words += " is configured and waits for its first sample"
	if s.Count > 1 {
		words += fmt.Sprintf(", and %s", count(s.Count-1, "more does", "more do"))
	}
	return s.Count, words
}

// changing names the metric of a signal that keeps changing, empty for none.
func changing(signals []grace.Signal) string {
	for _, sig := range signals {
		if sig.State == grace.SignalUnstable {
			return sig.Metric
		}
	}
	return ""
}

func signalLine(sig grace.Signal) string {
	state, since := cmp.Or(string(sig.State), "without data"), sig.Since
	if sig.Pending() {
		state, since = "pending", sig.FailingSince
	}
	line := fmt.Sprintf("%s %s since %s", sig.Metric, state, clock(since))
	if sig.Code != "" {
		line += ": " + humanize(string(sig.Code))
	}
	if sig.Threshold != 0 {
		line += fmt.Sprintf(", %s against %s", explain.Quantity(sig.Value, sig.Unit), explain.Quantity(sig.Threshold, sig.Unit))
	}
	if sig.Flapping {
		line += ", flapping"
	}
	if sig.Message != "" {
		line += " (" + sig.Message + ")"
	}
	return strings.TrimSpace(line)
}

// sickSince is when what is wrong with a service now began, zero for nothing.
func sickSince(signals []grace.Signal) (since time.Time) {
	for i := range signals {
		if sig := &signals[i]; sig.Sick() && (since.IsZero() || sig.Since.Before(since)) {
			since = sig.Since
		}
	}
	return since
}

// silencedAtSource names a firing alert that its sender keeps silent.
func silencedAtSource(signals []grace.Signal) string {
	for _, sig := range signals {
		if sig.SilencedAtSource() {
			return fmt.Sprintf("%s is silenced at its source: %s", sig.Metric, sig.Silenced)
		}
	}
	return ""
}

// ownDecision is the newest decision that GRACE made by itself about a service
// since a time, nil for none: one about a person's run, or about what was wrong
// before, does not say why nothing is done now.
func (s *server) ownDecision(ctx context.Context, id grace.ServiceID, since time.Time) (*grace.Decision, error) {
	last, err := maybe(s.store.LastDecision(ctx, s.store.Q(), id))
	if err != nil || last == nil || last.At.Before(since) {
		return nil, err
	}
	if last.Diagnosis.Kind != grace.TriggerManual {
		return last, nil
	}
	list, _, err := s.store.Decisions(ctx, s.store.Q(), store.DecisionFilter{Service: id, From: since}, store.Page{Limit: 50})
	if err != nil {
		return nil, stored(err)
	}
	i := slices.IndexFunc(list, func(d grace.Decision) bool { return d.Diagnosis.Kind != grace.TriggerManual })
	if i < 0 {
		return nil, nil //nolint:nilnil // none is an answer
	}
	return &list[i], nil
}

// chainOfService is the open run of a service with what led to it, or else
// the last decision about what has been wrong with it since a time.
func (s *server) chainOfService(ctx context.Context, id grace.ServiceID, since time.Time) (chain, error) {
	open := true
	runs, _, err := s.store.Runs(ctx, s.store.Q(), store.RunFilter{Service: id, Open: &open}, store.Page{Limit: 1})
	if err != nil {
		return chain{}, stored(err)
	}
	if len(runs) > 0 {
		return s.chainOfRun(ctx, runs[0])
	}
	var c chain
	if c.decision, err = s.ownDecision(ctx, id, since); err != nil {
		return c, err
	}
	if c.decision == nil {
		c.since = since
		c.earlier, err = s.ownDecision(ctx, id, s.now().Add(-earlierWindow))
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

// doing words what is being done about a service; notes say why nothing is. silenced
// tells by what another service is.
func doing(view ServiceView, c chain, recent []grace.Decision, silenced func(grace.ServiceID) []SilencedBy) (summary string, notes []string) {
	id := view.ID
	if c.run != nil && !c.run.Status.Terminal() {
		if waits := explain.Waits(*c.run); waits != "" {
			return fmt.Sprintf("Nothing is done on %s yet: run %s, %s, is approved and waits for %s.", id, c.run.ID, c.run.Playbook.ID, waits), nil
		}
		if c.run.Status == grace.RunAwaitingApproval {
			return fmt.Sprintf("Nothing is done on %s until a person answers: run %s, %s, waits for approval (grace approve, grace deny).", id, c.run.ID, c.run.Playbook.ID), nil
		}
		return fmt.Sprintf("GRACE is at it: run %s, %s on %s, is %s.", c.run.ID, c.run.Playbook.ID, id, runWords(c.run.Status)), nil
	}
	if view.Health.Status == grace.HealthHealthy {
		return fmt.Sprintf("Nothing is wrong with %s.", id), nil
	}
	cause := victimOf(id, recent)
	switch {
	case cause != nil:
		line := fmt.Sprintf("its symptoms are attributed to %s (%s, likelihood %.2f); ", cause.Diagnosis.Cause, humanize(string(cause.Diagnosis.Code)), cause.Diagnosis.Likelihood)
		if by := silenced(cause.Diagnosis.Cause); len(by) > 0 {
			line += "nothing is done there either: " + grace.Printable(by[0].Words(until))
		} else {
			line += "what is done about them is done there"
		}
		return fmt.Sprintf("Nothing is done on %s: %s.", id, line), []string{line, "decision " + string(cause.ID)}
	case c.decision != nil && c.decision.Verdict != grace.VerdictAllow && len(c.decision.Failed()) > 0:
		for _, r := range c.decision.Failed() {
			notes = append(notes, gateWords(r))
		}
		return fmt.Sprintf("Nothing is done on %s: %s.", id, notes[0]), notes
	case c.run != nil:
		notes = []string{fmt.Sprintf("the last run, %s (%s), ended at %s: %s", c.run.ID, c.run.Playbook.ID, clock(deref(c.run.EndedAt)), runWords(c.run.Status))}
		if c.run.Error != "" {
			notes = append(notes, c.run.Error)
		}
	case view.Health.Status == grace.HealthUnknown:
		notes = []string{"no sensor has fresh data about it, and no data is never taken for health or for sickness; look at the sensors"}
	default:
		notes = undecided(c)
	}
	return fmt.Sprintf("Nothing is done on %s: %s.", id, notes[0]), notes
}

// undecided says why no decision explains that nothing is done about a sick service.
func undecided(c chain) (notes []string) {
	if c.changing != "" {
		notes = append(notes, c.changing+" keeps changing and passed when last seen; nothing is done to a service while it passes")
	}
	switch {
	case c.decision != nil:
		notes = append(notes, "the last decision on it, at "+decided(c.decision))
	case c.earlier != nil && !c.since.IsZero():
		notes = append(notes, fmt.Sprintf("no decision is recorded since its symptoms changed at %s; the last one, at %s", clock(c.since), decided(c.earlier)))
	case len(notes) == 0:
		notes = []string{"no decision on it is recorded yet: its symptoms have not made a diagnosis"}
	}
	return notes
}

// decided says when a decision was made, which it was and why.
func decided(d *grace.Decision) string {
	text := fmt.Sprintf("%s, was %s", clock(d.At), verdictWords(d.Verdict))
	if failed := d.Failed(); len(failed) > 0 {
		text += ": " + gateWords(failed[0])
	}
	if d.Run != "" {
		text += ", run " + string(d.Run)
	}
	return text
}

// victimOf finds the newest decision whose diagnosis explains the symptoms of
// a service by another one, nil where there is none.
func victimOf(id grace.ServiceID, recent []grace.Decision) *grace.Decision {
	for i := range recent {
		if recent[i].Diagnosis.Cause == id {
			return nil // it was found to be a cause itself
		}
		if slices.Contains(recent[i].Diagnosis.Victims, id) {
			return &recent[i]
		}
	}
	return nil
}

// recentDecisions are those in which victims are looked for, newest first.
func (s *server) recentDecisions(ctx context.Context) ([]grace.Decision, error) {
	decisions, _, err := s.store.Decisions(ctx, s.store.Q(), store.DecisionFilter{From: s.now().Add(-victimWindow)}, store.Page{Limit: 50})
	if err != nil {
		return nil, stored(err)
	}
	return decisions, nil
}
