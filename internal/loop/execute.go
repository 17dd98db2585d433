package loop

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"grace"
	"grace/internal/explain"
	"grace/internal/flow"
	"grace/internal/gate"
	"grace/internal/govern"
	"grace/internal/heal"
	"grace/internal/store"
)

// coneRetry is how often a run that waits for its cone asks again.
const coneRetry = 2 * time.Second

// Execute is the engine's run function.
func (l *Loop) Execute(r *flow.Run) error {
	var run grace.Run
	if err := r.Input(&run); err != nil {
		return err
	}
	err := l.Runner.Run(&durable{l: l, r: r}, run)
	if err != nil && !flow.Stopped(err) {
		l.Log.Error("run broke off", "run", run.ID, "error", err)
	}
	return err
}

// durable is heal.Flow on the engine and the store.
type durable struct {
	l *Loop
	r *flow.Run
	// heeded: an abort that was on record before this process drove the run
	// has been looked for. Later ones are heard of.
	heeded bool
}

var _ heal.Flow = (*durable)(nil)

func (d *durable) journal(ctx context.Context, tx store.Tx) heal.Journal { return d.l.Journal(ctx, tx) }

// Journal gives a run's view of the store within one transaction, for a flow
// that is not the engine's.
func (l *Loop) Journal(ctx context.Context, tx store.Tx) heal.Journal {
	return journal{ctx: ctx, tx: tx, l: l, now: l.Now()}
}

// Tx meets heal.Flow.
func (d *durable) Tx(name string, fn func(heal.Journal) (heal.Mark, error)) (heal.Mark, error) {
	return flow.Tx(d.r, name, func(ctx context.Context, tx store.Tx) (heal.Mark, error) { return fn(d.journal(ctx, tx)) })
}

// Step meets heal.Flow.
func (d *durable) Step(name string, do func(context.Context) grace.Outcome,
	record func(heal.Journal, grace.Outcome) (heal.Mark, error),
) (grace.Outcome, heal.Mark, error) {
	step := flow.Look[heal.Mark]
	if heal.Acts(name) {
		step = flow.Step[heal.Mark]
	}
	return step(d.r, name, func(ctx context.Context) grace.Outcome {
		d.heed(ctx)
		began := time.Now()
		o := do(ctx)
		d.l.stats.acted(name, o.Status, time.Since(began))
		return o
	}, func(ctx context.Context, tx store.Tx, o grace.Outcome) (heal.Mark, error) {
		return record(d.journal(ctx, tx), o)
	})
}

// heed looks for an abort that nobody will tell this process of: a step that a
// dead process left must not be done in spite of it.
func (d *durable) heed(ctx context.Context) {
	if d.heeded {
		return
	}
	d.heeded = true
	abort, err := d.l.Store.Abort(ctx, d.l.Store.Q(), d.r.ID())
	if err != nil {
		// The step's own transaction looks again.
		d.l.Log.Warn("look for an abort request before a step", "run", d.r.ID(), "error", err)
	}
	if abort != nil {
		d.l.Runner.Interrupt(d.r.ID())
	}
}

// Owned meets heal.Flow. While the database is away nobody can say, so it waits.
func (d *durable) Owned(ctx context.Context) error {
	for {
		err := d.r.Owned(ctx)
		if err == nil || errors.Is(err, flow.ErrTaken) || flow.Stopped(err) || ctx.Err() != nil {
			return err
		}
		d.l.Log.Warn("a step waits: whether this process still has the run cannot be found out", "run", d.r.ID(), "error", err)
		d.l.Runner.Clock.Sleep(ctx, time.Second)
	}
}

// Control meets heal.Flow.
func (d *durable) Control(until time.Time) (grace.ControlMessage, bool, error) {
	return d.r.Control(until)
}

// journal is the store within one of a run's transactions.
type journal struct {
	ctx context.Context //nolint:containedctx // lives exactly as long as the transaction it belongs to
	tx  store.Tx
	l   *Loop
	now time.Time
}

// Now is the time of the transaction.
func (j journal) Now() time.Time { return j.now }

// Approval reads the approval, which the run then has for itself: a person who
// decides at the very moment it expires comes before or after, never between.
func (j journal) Approval(id grace.ApprovalID) (grace.Approval, error) {
	return j.l.Store.LockApproval(j.ctx, j.tx, id)
}

// Abort reads the abort request, nil when there is none.
func (j journal) Abort(id grace.RunID) (*grace.AbortRequest, error) {
	return j.l.Store.Abort(j.ctx, j.tx, id)
}

// OpenIncident gives the open incident about what a run was for; nil if there is
// none.
func (j journal) OpenIncident(run grace.Run) (*grace.Incident, error) {
	open, err := j.l.Store.OpenIncidents(j.ctx, j.tx)
	if err != nil {
		return nil, fmt.Errorf("read the open incidents: %w", err)
	}
	i := slices.IndexFunc(open, lasting{service: run.Service, since: run.SickSince}.isOf)
	if i < 0 {
		return nil, nil //nolint:nilnil // absent is an answer
	}
	return &open[i], nil
}

// Save writes one change.
func (j journal) Save(c grace.Change) error { return j.l.Store.Apply(j.ctx, j.tx, c) }

// Admit asks once more what may have changed since the decision: mode, trust,
// silences, the evidence, the change window, the circuit breaker, other runs.
func (j journal) Admit(run grace.Run) (heal.Admission, error) {
	st := j.l.stages.Load()
	if err := j.l.Store.LockDeciding(j.ctx, j.tx); err != nil {
		return heal.Admission{}, err
	}
	set, err := j.l.Store.Mode(j.ctx, j.tx)
	if err != nil {
		return heal.Admission{}, fmt.Errorf("read the mode: %w", err)
	}
	mode := set.At(j.now)
	if a := admitMode(mode, run); a.End != "" {
		return a, nil
	}
	if a, err := j.l.admitTrust(j.ctx, j.tx, st, mode, run, j.now); err != nil || a.End != "" {
		return a, err
	}
	if _, declared := st.graph.Service(run.Service); !declared {
		return heal.Admission{End: grace.RunCancelled, Reasons: []grace.Reason{gate.Declared(run.Service, false)}}, nil
	}
	if run.Kind != grace.TriggerManual {
		if a, err := j.admitEvidence(st, run); err != nil || a.End != "" || !a.Wait.IsZero() {
			return a, err
		}
	}
	before, err := j.before(run)
	if err != nil {
		return heal.Admission{}, err
	}
	busy := map[grace.ServiceID]bool{}
	for _, o := range before {
		busy[o.Service] = true
	}
	if r := gate.Redundancy(st.graph, run.Service, run.Code, shownWell(j.l.mirror.allSignals()), busy); !r.OK {
		if j.now.Sub(run.CreatedAt) >= evidenceWait {
			return heal.Admission{End: grace.RunCancelled, Reasons: []grace.Reason{r}}, nil
		}
		return heal.Admission{Wait: j.now.Add(coneRetry), Reasons: []grace.Reason{r}}, nil
	}
	if open, opens := st.govern.InWindow(j.now); !open {
		return heal.Admission{Wait: opens, Reasons: []grace.Reason{{
			Gate: "change_window", Code: grace.ReasonOutsideWindow, Actual: "outside", Until: &opens,
		}}}, nil
	}
	// A run by hand has met it where it was decided, and a person lets it pass.
	if storm := j.l.stormNow.Load(); storm != nil && run.Auto && run.Asked == nil {
		return heal.Admission{Wait: j.now.Add(coneRetry), Reasons: []grace.Reason{*storm}}, nil
	}
	a := j.admitOpen(st, run, before)
	if a.Wait.IsZero() {
		a.Before, err = j.symptoms(run.Service)
	}
	return a, err
}

// symptoms gives what is wrong with a service now.
func (j journal) symptoms(id grace.ServiceID) ([]grace.Symptom, error) {
	signals, err := j.l.signalsNow(j.ctx, j.tx, id)
	if err != nil {
		return nil, err
	}
	var out []grace.Symptom
	for _, s := range signals {
		if s.Sick() {
			out = append(out, grace.Symptom{Signal: s.Key, Code: s.Code, Severity: s.Severity})
		}
	}
	return out, nil
}

// evidenceWait is how long an admitted run waits for the evidence to become
// fresh. What lasts longer is decided anew, or told to a person.
const evidenceWait = 10 * time.Minute

// admitEvidence lets nothing begin without fresh evidence of what began the run.
func (j journal) admitEvidence(st *stages, run grace.Run) (heal.Admission, error) {
	e, err := j.l.evidenceNow(j.ctx, j.tx, st, &run, j.now)
	if err != nil {
		return heal.Admission{}, err
	}
	reasons := []grace.Reason{e.Reason()}
	switch {
	case e.State == gate.EvidenceFresh:
		return heal.Admission{}, nil
	case e.State == gate.EvidenceCleared, e.State == gate.EvidenceSilenced:
		return heal.Admission{End: grace.RunCancelled, Reasons: reasons}, nil
	case j.now.Sub(run.CreatedAt) >= evidenceWait && j.now.Sub(time.UnixMilli(j.l.epoch.Load())) >= evidenceWait:
		return heal.Admission{End: grace.RunCancelled, Reasons: reasons}, nil
	}
	return heal.Admission{Wait: j.now.Add(coneRetry), Reasons: reasons}, nil
}

// admitTrust asks the trust core again about what was decided: the
// configuration may have become stricter since. What it denies or only observes
// now is not done, whoever approved it, and what it wants a person to approve is
// not done unless one has.
func (l *Loop) admitTrust(ctx context.Context, q store.Querier, st *stages, mode grace.Mode, run grace.Run, now time.Time) (heal.Admission, error) {
	dec, err := l.Store.Decision(ctx, q, run.Decision)
	if err != nil {
		return heal.Admission{}, fmt.Errorf("read the decision again: %w", err)
	}
	if dec.Proposal == nil {
		return heal.Admission{}, fmt.Errorf("decision %s has no proposal: %w", dec.ID, store.ErrNotFound)
	}
	var a heal.Admission
	verdict, _, gates := st.govern.Decide(govern.Input{Now: now, Mode: mode, Proposal: st.proposedNow(*dec.Proposal, shownWell(l.mirror.allSignals()))})
	switch verdict {
	case grace.VerdictAllow:
		return a, nil
	case grace.VerdictRequireApproval:
		if !run.Auto || onlyWindow(gates) {
			return a, nil
		}
		a.End = grace.RunCancelled
	case grace.VerdictObserve:
		a.End = grace.RunObservedOnly
	case grace.VerdictDeny, grace.VerdictNone:
		a.End = grace.RunDenied
	default:
		a.End = grace.RunDenied
	}
	forbids := []grace.ReasonCode{grace.ReasonModeObserve, grace.ReasonExecuteOff, grace.ReasonShadow, grace.ReasonPolicyDeny}
	for _, r := range gates {
		if slices.Contains(forbids, r.Code) || a.End == grace.RunCancelled && !r.OK {
			a.Reasons = append(a.Reasons, r)
		}
	}
	return a, nil
}

// proposedNow gives a proposal as the configuration in force would make it.
func (st *stages) proposedNow(p grace.Proposal, well map[grace.ServiceID]bool) grace.Proposal {
	service, known := st.graph.Service(p.Service)
	if !known {
		service.ID = p.Service
	}
	p.Criticality = service.Criticality
	p.BlastRadius = max(p.BlastRadius, st.graph.BlastRadius(p.Service, illIn(well)))
	now := st.bound(p.Playbook, service)
	p.Auto = p.Auto && now.Auto
	p.Risk, p.Impact = cmp.Or(now.Risk, p.Risk), cmp.Or(now.Impact, p.Impact)
	return p
}

// onlyWindow tells whether the change window is all that stands in the way: the
// run waits for it.
func onlyWindow(gates []grace.Reason) bool {
	return !slices.ContainsFunc(gates, func(r grace.Reason) bool {
		return !r.OK && r.Code != grace.ReasonOutsideWindow && r.Code != grace.ReasonNoPolicy && r.Code != grace.ReasonPolicyApproval
	}) && slices.ContainsFunc(gates, func(r grace.Reason) bool { return !r.OK && r.Code == grace.ReasonOutsideWindow })
}

func admitMode(mode grace.Mode, run grace.Run) heal.Admission {
	no := func(end grace.RunStatus, code grace.ReasonCode) heal.Admission {
		may := []string{string(grace.ModeAutonomous), string(grace.ModeAskAlways)}
		return heal.Admission{End: end, Reasons: []grace.Reason{{Gate: "mode", Code: code, Actual: string(mode), Required: may}}}
	}
	switch mode {
	case grace.ModeAutonomous:
		return heal.Admission{}
	case grace.ModeAskAlways:
		if run.Auto {
			return no(grace.RunCancelled, grace.ReasonModeAsk)
		}
		return heal.Admission{}
	case grace.ModeStopped:
		return no(grace.RunDenied, grace.ReasonModeStopped)
	case grace.ModeObserveOnly:
		return no(grace.RunObservedOnly, grace.ReasonModeObserve)
	}
	return no(grace.RunObservedOnly, grace.ReasonModeObserve)
}

// condition looks at what began a run, for its verification: at what is stored,
// since this process may hear late of what another one saw.
func (l *Loop) condition(ctx context.Context, run grace.Run) heal.Condition {
	signals, err := l.signalsNow(ctx, l.Store.Q(), run.Service)
	if err != nil {
		return heal.Condition{Text: "nothing shows that it is gone: " + err.Error()}
	}
	out := heal.Condition{}
	for _, s := range signals {
		if s.Severity == grace.SeverityCritical && s.Sick() && s.State == grace.SignalFiring && !s.Passing && !s.Unconfirmed &&
			s.WorseThan(run.Before) && out.Worse == "" {
			out.Worse = s.Message
		}
	}
	if run.Kind == grace.TriggerProactive {
		come := comeIn(signals, run.Code)
		out.Clear, out.Text = come.State != gate.EvidenceFresh, explain.Actual(come.Reason())
		return out
	}
	for i, s := range signals {
		if s.Unconfirmed && s.State == grace.SignalOK {
			signals[i].State = grace.SignalStale // well before a restart is not well now
		}
	}
	e := evidenceOf(run.Condition, signals)
	out.Clear, out.Text = e.State == gate.EvidenceCleared, explain.Actual(e.Reason())
	return out
}

// before gives the other runs that have begun or, approved as this one is, go
// before it because they are older.
func (j journal) before(run grace.Run) ([]store.RunHead, error) {
	open, err := j.l.Store.OpenRunHeads(j.ctx, j.tx)
	if err != nil {
		return nil, fmt.Errorf("read open runs: %w", err)
	}
	return slices.DeleteFunc(open, func(o store.RunHead) bool {
		younger := o.CreatedAt.After(run.CreatedAt) || o.CreatedAt.Equal(run.CreatedAt) && o.ID > run.ID
		return o.ID == run.ID || !o.State.Mutating() || o.State == grace.RunApproved && younger
	}), nil
}

// admitOpen lets one mutating run into a dependency cone, and no more at once
// than the configured number.
func (j journal) admitOpen(st *stages, run grace.Run, before []store.RunHead) heal.Admission {
	acting := 0
	cone := append(st.graph.Cone(run.Service), run.Cone...) // the graph may have grown since the decision
	for _, o := range before {
		if o.State != grace.RunApproved {
			acting++
		}
		// Either's cone: they may be of two configurations.
		if slices.Contains(o.Cone, run.Service) || slices.Contains(cone, o.Service) {
			return heal.Admission{Wait: j.now.Add(coneRetry), Reasons: []grace.Reason{gate.ConeBusy(o.ID, o.Service)}}
		}
	}
	if r := gate.Concurrency(acting, st.Propose.MaxConcurrent); !r.OK {
		return heal.Admission{Wait: j.now.Add(coneRetry), Reasons: []grace.Reason{r}}
	}
	return heal.Admission{}
}
