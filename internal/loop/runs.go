package loop

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"grace"
	"grace/internal/decide"
	"grace/internal/event"
	"grace/internal/explain"
	"grace/internal/flow"
	"grace/internal/gate"
	"grace/internal/heal"
	"grace/internal/store"
)

// runs is what runs ask for: their way through the store, whether they may go on, and
// what has become of what began them.
type runs struct{ *basis }

// Execute is the engine's run function.
func (x *runs) Execute(r *flow.Run) error {
	var run grace.Run
	if err := r.Input(&run); err != nil {
		return err
	}
	err := x.Runner.Run(&flowAdapter{runs: x, r: r}, run)
	if err != nil && !flow.Stopped(err) {
		x.Log.Error("run broke off", "run", run.ID, "error", err)
	}
	return err
}

// flowAdapter is heal.Flow on the engine and the store.
type flowAdapter struct {
	runs *runs
	r    *flow.Run
	// abortChecked: an abort that was on record before this process drove the run
	// has been looked for. Later ones are heard of.
	abortChecked bool
}

var _ heal.Flow = (*flowAdapter)(nil)

func (d *flowAdapter) journal(ctx context.Context, tx store.Tx) heal.Journal {
	return d.runs.Journal(ctx, tx)
}

// Journal gives a run's view of the store within one transaction, for a flow
// that is not the engine's.
func (x *runs) Journal(ctx context.Context, tx store.Tx) heal.Journal {
	return journal{ctx: ctx, tx: tx, runs: x, now: x.Now()}
}

// Tx meets heal.Flow.
func (d *flowAdapter) Tx(name string, fn func(heal.Journal) (heal.Checkpoint, error)) (heal.Checkpoint, error) {
	return flow.Tx(d.r, name, func(ctx context.Context, tx store.Tx) (heal.Checkpoint, error) { return fn(d.journal(ctx, tx)) })
}

// Step meets heal.Flow.
func (d *flowAdapter) Step(name string, do func(context.Context) grace.Outcome,
	record func(heal.Journal, grace.Outcome) (heal.Checkpoint, error),
) (grace.Outcome, heal.Checkpoint, error) {
	step := flow.Look[heal.Checkpoint]
	if heal.Acts(name) {
		step = flow.Step[heal.Checkpoint]
	}
	return step(d.r, name, func(ctx context.Context) grace.Outcome {
		d.checkAbort(ctx)
		began := time.Now()
		o := do(ctx)
		d.runs.stats.acted(name, o.Status, time.Since(began))
		return o
	}, func(ctx context.Context, tx store.Tx, o grace.Outcome) (heal.Checkpoint, error) {
		return record(d.journal(ctx, tx), o)
	})
}

// checkAbort looks for an abort that nobody will tell this process of: a step that a
// dead process left must not be done in spite of it.
func (d *flowAdapter) checkAbort(ctx context.Context) {
	if d.abortChecked {
		return
	}
	d.abortChecked = true
	abort, err := d.runs.Store.Abort(ctx, d.runs.Store.Q(), d.r.ID())
	if err != nil {
		// The step's own transaction looks again.
		d.runs.Log.Warn("look for an abort request before a step", "run", d.r.ID(), "error", err)
	}
	if abort != nil {
		d.runs.Runner.Interrupt(d.r.ID())
	}
}

// Owned meets heal.Flow. While the database is away nobody can say, so it waits.
func (d *flowAdapter) Owned(ctx context.Context) error {
	for {
		err := d.r.Owned(ctx)
		if err == nil || errors.Is(err, flow.ErrTaken) || flow.Stopped(err) || ctx.Err() != nil {
			return err
		}
		d.runs.Log.Warn("a step waits: whether this process still has the run cannot be found out", "run", d.r.ID(), "error", err)
		d.runs.Runner.Clock.Sleep(ctx, time.Second)
	}
}

// Control meets heal.Flow.
func (d *flowAdapter) Control(until time.Time) (grace.ControlMessage, bool, error) {
	return d.r.Control(until)
}

// journal is the store within one of a run's transactions.
type journal struct {
	ctx  context.Context //nolint:containedctx // lives exactly as long as the transaction it belongs to
	tx   store.Tx
	runs *runs
	now  time.Time
}

// Now is the time of the transaction.
func (j journal) Now() time.Time { return j.now }

// Approval reads the approval, which the run then has for itself: a person who
// decides at the very moment it expires comes before or after, never between.
func (j journal) Approval(id grace.ApprovalID) (grace.Approval, error) {
	return j.runs.Store.LockApproval(j.ctx, j.tx, id)
}

// Abort reads the abort request, nil when there is none.
func (j journal) Abort(id grace.RunID) (*grace.AbortRequest, error) {
	return j.runs.Store.Abort(j.ctx, j.tx, id)
}

// OpenIncident gives the open incident about what a run was for; nil if there is
// none.
func (j journal) OpenIncident(run grace.Run) (*grace.Incident, error) {
	open, err := j.runs.Store.OpenIncidents(j.ctx, j.tx)
	if err != nil {
		return nil, fmt.Errorf("read the open incidents: %w", err)
	}
	i := slices.IndexFunc(open, lasting{service: run.Service, since: run.SickSince}.isOf)
	if i < 0 {
		return nil, nil //nolint:nilnil // absent is an answer
	}
	return &open[i], nil
}

// Lasting gives the signals of a run's condition that are not shown to be over.
func (j journal) Lasting(run grace.Run) (keys []grace.SignalKey, err error) {
	signals, err := j.runs.signalsNow(j.ctx, j.tx, run.Service)
	return notOver(run.Condition, signals, 0, j.now), err
}

// Save writes what has happened.
func (j journal) Save(events ...event.Event) error {
	return j.runs.Store.Append(j.ctx, j.tx, events...)
}

// condition looks at what began a run, for its verification: at what is stored,
// since this process may hear late of what another one saw.
func (x *runs) condition(ctx context.Context, run grace.Run) heal.Condition {
	x.in.noticeStill()
	signals, err := x.signalsNow(ctx, x.Store.Q(), run.Service)
	if err != nil {
		return heal.Condition{Open: true, Text: "nothing shows that it is gone: " + err.Error()}
	}
	out := heal.Condition{}
	for _, s := range signals {
		if s.Severity == grace.SeverityCritical && s.Sick() && s.State == grace.SignalFiring && !s.Passing && !s.Unconfirmed &&
			s.WorseThan(run.Before) && out.Worse == "" {
			out.Worse = s.Message
		}
	}
	acted := lastStep(run)
	for i, s := range signals {
		switch {
		case s.State == grace.SignalFiring && !decide.SentSince(&s, acted):
			signals[i].Unconfirmed = true // it is of before
		case s.Unconfirmed && s.State == grace.SignalOK && (run.Kind != grace.TriggerProactive || s.Kind != grace.SignalObjective):
			// Well before a restart is not well now; but a long window takes hours until it
			// is judged again.
			signals[i].State = grace.SignalStale
		case s.State == grace.SignalUnstable && !s.Unconfirmed:
			signals[i].State = grace.SignalOK // it changed often before; it is well now
		}
	}
	if run.Kind == grace.TriggerProactive {
		averted := x.averted(ctx, signals, run)
		averted.Worse = out.Worse
		return averted
	}
	e := decide.Evidence(run.Condition, signals)
	out.Clear, out.Open, out.Text = e.State == gate.EvidenceCleared, undecided(e), explain.Actual(e.Reason())
	if gone := missing(run.Condition, signals); out.Clear && gone != "" && !decide.WellOrSilenced(signals)[run.Service] {
		out.Clear, out.Text = false, "nothing shows that it is gone: there is no "+string(gone)+" any more"
	}
	return out
}

// lastStep gives when the last step of a run ended, so far.
func lastStep(run grace.Run) (at time.Time) {
	for _, s := range run.Steps {
		if s.EndedAt != nil && s.EndedAt.After(at) {
			at = *s.EndedAt
		}
	}
	return at
}

// undecided tells whether what is known says neither that something is there nor that it
// is not: that the newest sample passes is not yet that it is over.
func undecided(e gate.Evidence) bool {
	return e.State == gate.EvidenceNoData || e.State == gate.EvidenceUnconfirmed || e.State == gate.EvidencePassing
}

// notOver gives those of some signals that are not shown to have been well for so long.
// One that is not there any more says nothing; what became of it its incident says.
func notOver(keys []grace.SignalKey, signals []grace.Signal, holdDown time.Duration, now time.Time) (left []grace.SignalKey) {
	for _, key := range keys {
		i := slices.IndexFunc(signals, func(s grace.Signal) bool { return s.Key == key })
		if i < 0 {
			continue
		}
		if s := &signals[i]; s.State != grace.SignalOK || s.Unconfirmed || now.Sub(s.Since) < holdDown {
			left = append(left, key)
		}
	}
	return left
}

// missing gives a signal of a condition that is not there any more, empty for none:
// its sensor may have been renamed or removed, which clears nothing.
func missing(condition []grace.SignalKey, signals []grace.Signal) grace.SignalKey {
	for _, key := range condition {
		if !slices.ContainsFunc(signals, func(s grace.Signal) bool { return s.Key == key }) {
			return key
		}
	}
	return ""
}

// averted tells whether what was foreseen has not come and is not foreseen any more,
// by what is seen: that there is no data shows nothing.
func (x *runs) averted(ctx context.Context, signals []grace.Signal, run grace.Run) heal.Condition {
	unseen := func(why string) heal.Condition {
		return heal.Condition{Open: true, Text: "nothing shows that it has not come" + why}
	}
	come := decide.Come(signals, run.Code)
	if come.State != gate.EvidenceCleared {
		return heal.Condition{Open: undecided(come), Text: explain.Actual(come.Reason())}
	}
	dec, err := x.Store.Decision(ctx, x.Store.Q(), run.Decision)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return unseen(": " + err.Error())
	}
	st, now := x.stages.Load(), x.Now()
	for _, name := range foretold(dec.Diagnosis) {
		if m, wanted := x.in.measured(run.Service, name); wanted && !x.recent(m) {
			return unseen(": there is no data of " + name)
		}
	}
	shown := slices.ContainsFunc(signals, func(s grace.Signal) bool {
		return s.Code == run.Code && s.State == grace.SignalOK && !s.Unconfirmed
	})
	if !shown && !decide.WellOrSilenced(signals)[run.Service] {
		return unseen("")
	}
	foreseen := st.rules.Foreseen(now, x.evidenceSince(), x.mirror.current(now, st.rules.PredictionsFresh()), run.Service, run.Code, st.Diagnose.MinLikelihood)
	return heal.Condition{Clear: foreseen.State == gate.EvidenceCleared, Open: undecided(foreseen), Text: explain.Actual(foreseen.Reason())}
}

// foretold gives the objectives and limits whose forecasts a diagnosis rests on.
func foretold(d grace.Diagnosis) (metrics []string) {
	for _, e := range d.Evidence {
		if rest, is := strings.CutPrefix(string(e.Signal), string(d.Cause)+"/predict/"); is && e.Code == d.Code {
			metric, _, _ := strings.Cut(strings.TrimSuffix(rest, "/"+string(e.Code)), "{")
			metrics = append(metrics, metric)
		}
	}
	return metrics
}

// recent tells whether something was measured a while ago at most, and since evidence
// counts.
func (x *runs) recent(m measurement) bool {
	return !m.at.Before(x.evidenceSince()) && x.Now().Sub(m.at) <= max(x.stages.Load().rules.PredictionsFresh(), 2*m.every)
}
