package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"grace"
	"grace/internal/api"
	"grace/internal/cli"
	"grace/internal/explain"
)

// observer is what the account is told from.
type observer interface {
	// runs gives the runs made at or after a time, oldest first.
	runs(ctx context.Context, from time.Time) ([]grace.Run, error)
	why(ctx context.Context, id grace.RunID) (api.Explanation, error)
	health(ctx context.Context) ([]api.HealthView, error)
}

// operator is the person of the story.
type operator interface {
	approve(ctx context.Context, id grace.RunID, reason string) error
	resolve(ctx context.Context, id grace.IncidentID, reason string) error
}

// remote is observer and operator by GRACE's own API.
type remote struct{ *cli.Client }

var (
	_ observer = remote{}
	_ operator = remote{}
)

func (r remote) runs(ctx context.Context, from time.Time) ([]grace.Run, error) {
	got, err := r.Runs(ctx, cli.ListQuery{Limit: cli.MaxPage}.Values("from", from.UTC().Format(time.RFC3339Nano)))
	if err != nil {
		return nil, err
	}
	slices.Reverse(got.Value.Items)
	return got.Value.Items, nil
}

func (r remote) why(ctx context.Context, id grace.RunID) (api.Explanation, error) {
	got, err := r.WhyRun(ctx, id)
	return got.Value, err
}

func (r remote) health(ctx context.Context) ([]api.HealthView, error) {
	got, err := r.Health(ctx)
	return got.Value.Items, err
}

func (r remote) approve(ctx context.Context, id grace.RunID, reason string) error {
	a, err := r.Approval(ctx, grace.ApprovalID(id))
	if err != nil {
		return err
	}
	_, err = r.Decide(ctx, a.Value.ID, true, reason, a.Value.Revision)
	return err
}

func (r remote) resolve(ctx context.Context, id grace.IncidentID, reason string) error {
	_, err := r.ChangeIncident(ctx, id, "resolve", reason)
	return err
}

// watcher tells what GRACE does, as it happens.
type watcher struct {
	grace observer
	tell  *teller
	from  time.Time
	told  map[grace.RunID]*toldRun
}

type toldRun struct {
	state  grace.RunStatus
	steps  map[string]grace.StepState
	seenAt *time.Time // its first trigger
}

func newWatcher(g observer, t *teller, from time.Time) *watcher {
	return &watcher{grace: g, tell: t, from: from, told: map[grace.RunID]*toldRun{}}
}

// look reads the runs and tells what is new in them.
func (w *watcher) look(ctx context.Context) ([]grace.Run, error) {
	runs, err := w.grace.runs(ctx, w.from)
	if err != nil {
		return nil, err
	}
	for _, r := range runs {
		known := w.told[r.ID]
		if known == nil {
			known = &toldRun{steps: map[string]grace.StepState{}}
			why, err := w.grace.why(ctx, r.ID)
			if err != nil {
				return nil, err
			}
			w.told[r.ID] = known
			known.seenAt = w.beginning(r, why)
		}
		w.steps(r, known)
		if r.Status != known.state {
			known.state = r.Status
			w.state(r)
		}
	}
	return runs, nil
}

// beginning tells how a run came to be. It gives the time of its first trigger.
func (w *watcher) beginning(r grace.Run, why api.Explanation) *time.Time {
	var first *time.Time
	for _, t := range why.Triggers {
		if first == nil || t.At.Before(*first) {
			first = &t.At
		}
	}
	d := why.Decision
	if d == nil {
		w.tell.say(voiceGrace, "proposes %s on %s for %s", r.Playbook.ID, r.Service, r.Code)
		return first
	}
	const most = 3
	for i, e := range d.Diagnosis.Evidence {
		if i == most {
			w.tell.say(voiceGrace, "saw %d more signs", len(d.Diagnosis.Evidence)-most)
			break
		}
		w.tell.say(voiceGrace, "saw %s: %s", e.Service, e.Text)
	}
	victims := ""
	if len(d.Diagnosis.Victims) > 0 {
		victims = "; its victims are left alone: " + cli.Join(d.Diagnosis.Victims)
	}
	w.tell.say(voiceGrace, "diagnosed %s of %s, likelihood %.2f%s", d.Diagnosis.Code, d.Diagnosis.Cause, d.Diagnosis.Likelihood, victims)
	w.tell.say(voiceGrace, "decided %s: %s", strings.TrimSpace(fmt.Sprintf("%s on %s %s", r.Playbook.ID, r.Service, cli.Parameters(r.Parameters))), verdictText(*d))
	return first
}

// verdictText words a decision with the gates that settled it.
func verdictText(d grace.Decision) string {
	var no []string
	for _, r := range d.Failed() {
		no = append(no, fmt.Sprintf("%s is %s, required %s", r.Gate, explain.Actual(r), explain.Required(r)))
	}
	switch {
	case d.Verdict == grace.VerdictAllow:
		return fmt.Sprintf("allowed, all %d gates agree", len(d.Reasons))
	case len(no) > 0:
		return fmt.Sprintf("%s, because %s", strings.ReplaceAll(string(d.Verdict), "_", " "), strings.Join(no, "; "))
	default:
		return string(d.Verdict)
	}
}

func (w *watcher) steps(r grace.Run, known *toldRun) {
	for _, s := range r.Steps {
		key := string(s.Phase) + "/" + s.Name
		if s.State == known.steps[key] {
			continue
		}
		known.steps[key] = s.State
		verb := "did"
		if s.Phase == grace.PhaseUndo {
			verb = "undid"
		}
		switch s.State {
		case grace.StepSucceeded:
			took := ""
			if s.StartedAt != nil && s.EndedAt != nil {
				took = " in " + cli.Short(s.EndedAt.Sub(*s.StartedAt))
			}
			w.tell.say(voiceGrace, "%s %s on %s%s", verb, s.Name, r.Service, took)
		case grace.StepFailed, grace.StepUnknown:
			w.tell.say(voiceGrace, "%s not %s on %s: %s %s", verb, s.Name, r.Service, s.State, s.Error)
		case grace.StepStarted, grace.StepPending, grace.StepSkipped:
		}
	}
}

func (w *watcher) state(r grace.Run) {
	switch r.Status {
	case grace.RunAwaitingApproval:
		w.tell.say(voiceGrace, "waits for a person: grace approve %s --reason ...", r.ID)
	case grace.RunVerifying:
		w.tell.say(voiceGrace, "verifies that it helped")
	case grace.RunRollingBack:
		w.checks(r)
		w.tell.say(voiceGrace, "undoes what it did, because it did not help")
	case grace.RunRollbackFailed:
		w.tell.say(voiceGrace, "could not undo everything")
	case grace.RunSucceeded:
		w.checks(r)
		w.tell.say(voiceGrace, "run %s succeeded, recovered in %s", r.ID, cli.Short(r.RecoveredIn.D()))
	case grace.RunIneffective, grace.RunRolledBack, grace.RunEscalated, grace.RunAborted:
		w.tell.say(voiceGrace, "run %s ended %s%s", r.ID, r.Status, cli.Because(r.Error))
		if r.Incident != "" {
			w.tell.say(voiceGrace, "opened incident %s for a person", r.Incident)
		}
	case grace.RunDenied, grace.RunExpired, grace.RunCancelled, grace.RunObservedOnly:
		w.tell.say(voiceGrace, "run %s ended %s%s", r.ID, r.Status, cli.Because(r.Error))
	case grace.RunProposed, grace.RunApproved, grace.RunRunning:
	}
}

func (w *watcher) checks(r grace.Run) {
	for _, c := range r.Checks {
		word := "verified"
		if !c.Passed {
			word = "NOT verified"
		}
		w.tell.say(voiceGrace, "%s %s: wanted %s; saw %s", word, c.Name, c.Wanted, c.Actual)
	}
}
