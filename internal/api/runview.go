package api

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"grace"
	"grace/console"
	"grace/internal/event"
	"grace/internal/explain"
	"grace/internal/heal"
	"grace/internal/stage/verify"
	"grace/internal/store"
)

func atoi(text string) int {
	n, err := strconv.Atoi(text)
	if err != nil {
		return 0
	}
	return n
}

func (s *server) runView(ctx context.Context, v visit) (console.Run, error) {
	run, err := s.store.Run(ctx, s.store.Q(), grace.RunID(v.r.PathValue("id")))
	if err != nil {
		return console.Run{}, stored(err)
	}
	c, err := s.chainOfRun(ctx, run)
	if err != nil {
		return console.Run{}, err
	}
	f, err := s.frame(ctx, v, string(run.Playbook.ID)+" on "+string(run.Service), "")
	if err != nil {
		return console.Run{}, err
	}
	page := console.Run{
		Frame: f, ID: string(run.ID), State: runState(run.Status), Service: serviceLink(run.Service), Playbook: string(run.Playbook.ID),
		Code: cause(run), Kind: string(run.Kind), Created: run.CreatedAt, Ended: deref(run.EndedAt), Error: run.Error,
		Why: paragraphs(c.stages(), "steps", "verification", "gates"), Gates: gatesView(c.decision), Checks: checksView(run),
	}
	page.Steps, page.Undo = stepsView(run)
	if run.RecoveredIn > 0 {
		page.Recover = span(run.RecoveredIn.D())
	}
	if run.Abort != nil {
		page.Abort = fmt.Sprintf("Abort asked by %s%s", run.Abort.Actor, quoted(run.Abort.Reason))
	}
	if c.incident != nil {
		page.Incident = string(c.incident.ID) + " (" + string(c.incident.State) + ")"
	}
	if c.approval != nil {
		page.Approval = console.Link{Text: "The approval: " + string(c.approval.State), Path: "lite/approvals/" + string(c.approval.ID)}
	}
	page.CanAbort = abortable(run) && callerOf(ctx).Role >= roleApprover
	if !run.Status.Terminal() && !page.CanAbort {
		page.Refresh = refreshEvery
	}
	return page, nil
}

// abortable tells whether an abort would still change anything: a run that is
// undoing what it did already does what an abort asks for.
func abortable(r grace.Run) bool {
	return r.Abort == nil && !r.Status.Terminal() && r.Status != grace.RunRollingBack && r.Status != grace.RunRollbackFailed
}

// paragraphs are the stages for a page that draws some of them itself.
func paragraphs(stages []Stage, except ...string) []console.Paragraph {
	var out []console.Paragraph
	for _, st := range stages {
		if !slices.Contains(except, st.Name) {
			out = append(out, console.Paragraph{Title: st.Title, Lines: st.Lines})
		}
	}
	return out
}

func gatesView(d *grace.Decision) console.Gates {
	if d == nil {
		return console.Gates{}
	}
	g := console.Gates{Verdict: verdictWords(d.Verdict), Policy: d.Policy, Failed: len(d.Failed())}
	for _, r := range d.Reasons {
		g.Rows = append(g.Rows, console.Gate{
			Name: humanize(r.Gate), OK: r.OK, Code: string(r.Code), Actual: explain.Actual(r), Required: explain.Required(r), Hint: explain.Hint(r),
		})
	}
	// What said no is what is looked for.
	slices.SortStableFunc(g.Rows, func(a, b console.Gate) int {
		switch {
		case a.OK == b.OK:
			return 0
		case b.OK:
			return -1
		}
		return 1
	})
	return g
}

// stepsView joins the playbook's steps with what became of them; the undo is
// shown from the start, in the order it would run.
func stepsView(r grace.Run) (steps, undo []console.Step) {
	record := map[string]grace.StepRecord{}
	for _, rec := range r.Steps {
		record[string(rec.Phase)+"/"+rec.Name] = rec
	}
	for _, st := range r.Playbook.Steps {
		row := stepRow(st.Name, st.Action, record[string(grace.PhaseDo)+"/"+st.Name], r.Status)
		switch {
		case st.ReadOnly:
			row.Note = note(row.Note, "changes nothing")
		case st.Irreversible:
			row.Note = note(row.Note, "cannot be undone")
		}
		steps = append(steps, row)
		if st.Undo != nil {
			undo = append(undo, stepRow(st.Name, st.Undo.Action, record[string(grace.PhaseUndo)+"/"+st.Name], r.Status))
		}
	}
	slices.Reverse(undo)
	return steps, undo
}

func stepRow(name, action string, rec grace.StepRecord, run grace.RunStatus) console.Step {
	row := console.Step{Name: name, Action: action, State: stepState(rec.State, run), Attempts: rec.Attempts, Started: deref(rec.StartedAt), Output: rec.Output, Error: rec.Error}
	if rec.StartedAt != nil && rec.EndedAt != nil {
		row.Took = span(rec.EndedAt.Sub(*rec.StartedAt))
	}
	if rec.Resumed {
		row.Note = "resumed by another process"
	}
	return row
}

func note(a, b string) string {
	if a == "" {
		return b
	}
	return a + ", " + b
}

func stepState(state grace.StepState, run grace.RunStatus) console.State {
	switch state {
	case grace.StepStarted:
		return console.State{Tone: console.ToneHealing, Label: "running"}
	case grace.StepSucceeded:
		return console.State{Tone: console.ToneHealthy, Label: "done"}
	case grace.StepFailed:
		return console.State{Tone: console.ToneFailing, Label: "failed"}
	case grace.StepUnknown:
		return console.State{Tone: console.ToneDegraded, Label: "unknown"}
	case grace.StepSkipped:
		return console.State{Tone: console.ToneNoData, Label: "skipped"}
	case grace.StepPending:
	}
	if run.Terminal() {
		return console.State{Tone: console.ToneNoData, Label: "not run"}
	}
	return console.State{Tone: console.ToneNoData, Label: "planned"}
}

func checksView(r grace.Run) []console.Check {
	var out []console.Check
	for _, c := range r.Checks {
		row := console.Check{
			Name: checkName(c.Name, c.Type), Wanted: c.Wanted, Actual: orDash(c.Actual), Probes: fmt.Sprintf("%d of %d", c.Samples-c.Failed, c.Samples),
			State: console.State{Tone: console.ToneFailing, Label: "failed"},
		}
		switch {
		case c.Passed:
			row.State = console.State{Tone: console.ToneHealthy, Label: "passed"}
		case r.Status == grace.RunRunning || r.Status == grace.RunVerifying:
			row.State = console.State{Tone: console.ToneHealing, Label: "probing"}
		}
		out = append(out, row)
	}
	if len(out) > 0 {
		return out
	}
	for _, c := range r.Playbook.Verify {
		out = append(out, console.Check{Name: checkName(c.Name, c.Type), State: stepState(grace.StepPending, r.Status), Wanted: verify.Wanted(c), Actual: "-", Probes: "-"})
	}
	return out
}

func (s *server) approvalView(ctx context.Context, v visit) (console.Approval, error) {
	a, err := s.store.Approval(ctx, s.store.Q(), grace.ApprovalID(v.r.PathValue("id")))
	if err != nil {
		return console.Approval{}, stored(err)
	}
	run, err := s.store.Run(ctx, s.store.Q(), a.Run)
	if err != nil {
		return console.Approval{}, stored(err)
	}
	c, err := s.chainOfRun(ctx, run)
	if err != nil {
		return console.Approval{}, err
	}
	f, err := s.frame(ctx, v, "Approve "+string(a.Playbook)+" on "+string(a.Service), "")
	if err != nil {
		return console.Approval{}, err
	}
	page := console.Approval{
		Frame: f, ID: string(a.ID), Service: serviceLink(a.Service), Run: console.Link{Text: "The run", Path: "lite/runs/" + string(a.Run)},
		Title: fmt.Sprintf("%s on %s?", a.Playbook, a.Service), Expires: a.Expires, Asked: a.At, Revision: a.Revision,
		Why: paragraphs(c.stages(), "steps", "verification", "gates", "approval", "outcome"), Gates: gatesView(c.decision),
		Risk: orDash(string(run.Playbook.Risk)), Impact: orDash(string(run.Playbook.Impact)), Blast: "-",
		Pending:   a.State == grace.ApprovalPending && f.Now.Before(a.Expires),
		CanDecide: callerOf(ctx).Role >= roleApprover,
	}
	page.State, page.Settled = approvalState(a, f.Now)
	// As it would be done, not as the playbook was written.
	for _, st := range heal.Preview(run.Playbook, run.Service, run.Parameters).Steps {
		page.What = append(page.What, stepWords(st.Name, st.Action, st.With, st.Irreversible))
		if st.Undo != nil {
			page.Undo = append(page.Undo, stepWords("undo "+st.Name, st.Undo.Action, st.Undo.With, false))
		}
	}
	slices.Reverse(page.Undo)
	if c.decision != nil && c.decision.Proposal != nil {
		p := c.decision.Proposal
		page.Risk, page.Impact, page.Blast = orDash(string(p.Risk)), orDash(string(p.Impact)), fmt.Sprintf("%d services", p.BlastRadius)
	}
	page.Chance, err = s.chance(ctx, run)
	return page, err
}

func approvalState(a grace.Approval, now time.Time) (st console.State, settled string) {
	switch a.State {
	case grace.ApprovalPending:
		if now.Before(a.Expires) {
			return console.State{Tone: console.ToneWaiting, Label: "waiting for you"}, ""
		}
		return console.State{Tone: console.ToneNoData, Label: "expired"}, "Nobody decided in time: expired at " + clock(a.Expires) + "."
	case grace.ApprovalApproved:
		st = console.State{Tone: console.ToneHealthy, Label: "approved"}
	case grace.ApprovalDenied, grace.ApprovalExpired, grace.ApprovalCancelled:
		st = console.State{Tone: console.ToneNoData, Label: string(a.State)}
	}
	switch {
	case a.State == grace.ApprovalExpired:
		return st, "Nobody decided in time: expired at " + clock(a.Expires) + "."
	case a.DecidedAt != nil:
		return st, fmt.Sprintf("Already %s by %s, %s ago%s", a.State, orDash(a.Actor), span(max(0, now.Sub(*a.DecidedAt))), quoted(a.Reason))
	}
	return st, fmt.Sprintf("%s%s", a.State, quoted(a.Reason))
}

// stepWords says what a step does: its name, its action and all its settings. Secrets
// are still references here.
func stepWords(name, action string, with map[string]any, irreversible bool) string {
	var parts []string
	for _, key := range slices.Sorted(maps.Keys(with)) {
		switch value := with[key].(type) {
		case []any:
			parts = append(parts, key+" "+strings.Trim(fmt.Sprint(value), "[]"))
		case map[string]any, map[string]string:
			parts = append(parts, key+" "+string(event.Encode(value)))
		default:
			parts = append(parts, fmt.Sprintf("%s %v", key, value))
		}
	}
	text := name + ": " + action
	if len(parts) > 0 {
		text += " (" + strings.Join(parts, ", ") + ")"
	}
	if irreversible {
		text += "; cannot be undone"
	}
	return text
}

// chance words how often this playbook helped this service.
func (s *server) chance(ctx context.Context, run grace.Run) (string, error) {
	f := store.LearningFilter{Service: run.Service, Playbook: run.Playbook.ID}
	entries, _, err := s.store.Learning(ctx, s.store.Q(), f, store.Page{Limit: 200})
	if err != nil {
		return "", stored(err)
	}
	var good, all int
	for _, e := range entries {
		switch e.Result {
		case grace.ResultSuccess:
			good, all = good+1, all+1
		case grace.ResultFailure:
			all++
		case grace.ResultNeutral:
		}
	}
	if all == 0 {
		return fmt.Sprintf("Not known: %s has not been tried on %s.", run.Playbook.ID, run.Service), nil
	}
	return fmt.Sprintf("It helped %d of %d times on %s.", good, all, run.Service), nil
}
