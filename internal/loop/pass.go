package loop

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"grace"
	"grace/internal/diagnose"
	"grace/internal/gate"
	"grace/internal/learn"
	"grace/internal/propose"
	"grace/internal/store"
)

const (
	// pastWindow is how far back propose's limits look.
	pastWindow   = 24 * time.Hour
	triggerBatch = 5000
	// stormBatch diagnoses are decided in one transaction while the storm
	// breaker is open.
	stormBatch = 50
)

// consideration is what was last said about a diagnosis.
type consideration struct {
	at        time.Time
	service   grace.ServiceID
	signature string
	failed    []grace.Reason // why nothing was done
	storm     bool           // the storm breaker was open
}

// due is a diagnosis that is to be decided now.
type due struct {
	diagnosis grace.Diagnosis
	triggers  []grace.Trigger
	last      string // signature of what was said before
}

// decideAll is one pass: it diagnoses what all signals say together, decides
// each cause, and settles the triggers that led to none.
func (l *Loop) decideAll(ctx context.Context) error {
	l.shiftClocks()
	now := l.Now()
	st := l.stages.Load()
	signals := l.mirror.allSignals()
	diagnoses := st.diagnoseAll(now, signals, l.mirror.current(now, predictionsFresh(st)))
	pending, err := l.Store.PendingTriggers(ctx, l.Store.Q(), triggerBatch)
	if err != nil {
		return fmt.Errorf("read pending triggers: %w", err)
	}
	sick := st.storming(diagnoses)
	// Whatever fails below, somebody is told of what lasts.
	err = l.storm(ctx, st, propose.State{Sick: sick, Total: population(st, sick), Undeclared: st.undeclared(sick)}, signals, now)
	if err == nil {
		err = l.decideList(ctx, st, diagnoses, pending, sick, now)
	}
	return errors.Join(err, l.settle(ctx, st, pending, diagnoses, signals, now), l.escalate(ctx, st, diagnoses, signals, now))
}

// decideList decides the diagnoses that it is time for.
func (l *Loop) decideList(ctx context.Context, st *stages, diagnoses []grace.Diagnosis, pending []grace.Trigger, sick []grace.ServiceID, now time.Time) error {
	storm := l.stormNow.Load() != nil
	current := map[string]bool{}
	waiting := byService(pending)
	var list []due
	for _, d := range diagnoses {
		key := considered(d)
		current[key] = true
		if now.Sub(d.Since) < st.GroupWait {
			continue // its other symptoms may still be on their way
		}
		mine := triggersOf(d, waiting)
		last, seen := l.considered[key]
		if seen && len(mine) == 0 && (now.Sub(last.at) < st.Reconsider || storm && last.storm) {
			continue // while a storm lasts nothing is done: the "no" stands
		}
		list = append(list, due{d, mine, last.signature})
	}
	err := l.decideEach(ctx, st, list, sick, storm, now)
	for id := range l.considered {
		if !current[id] {
			delete(l.considered, id)
		}
	}
	return err
}

// maxFailures is how many decisions of a pass may fail until the store is taken
// to be away.
const maxFailures = 3

// decideEach decides diagnoses, the most urgent first. In a storm many are
// decided in one transaction: a thousand waits for the disk would take seconds.
// One that cannot be decided does not keep the others from it.
func (l *Loop) decideEach(ctx context.Context, st *stages, list []due, sick []grace.ServiceID, storm bool, now time.Time) error {
	var failed error
	for failures := 0; len(list) > 0 && failures < maxFailures; {
		n := 1
		if storm {
			n = min(len(list), stormBatch)
		}
		said, err := l.decideTogether(ctx, st, list[:n], sick)
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("decide %s on %s: %w", list[0].diagnosis.Code, list[0].diagnosis.Cause, err))
			list = list[n:]
			failures++
			continue
		}
		for i, dec := range said {
			l.considered[considered(list[i].diagnosis)] = consideration{
				at: now, service: dec.Service, signature: signature(dec), failed: dec.Failed(), storm: storm,
			}
		}
		list = list[len(said):]
	}
	return failed
}

// diagnoseAll diagnoses what signals and predictions say together. In shadow a
// prediction must not weigh in where something is done: the signals are
// diagnosed without, and only what is foreseen of services that are well is
// added, to be judged for the record.
func (st *stages) diagnoseAll(now time.Time, signals []grace.Signal, predictions []grace.Prediction) []grace.Diagnosis {
	together := st.diagnose.Diagnose(diagnose.Input{Now: now, Signals: signals, Predictions: predictions})
	if !st.Govern.PredictiveShadow || len(predictions) == 0 {
		return together
	}
	diagnoses := st.diagnose.Diagnose(diagnose.Input{Now: now, Signals: signals})
	for _, d := range together {
		sick := func(other grace.Diagnosis) bool { return other.Cause == d.Cause }
		if d.Kind == grace.TriggerProactive && !slices.ContainsFunc(diagnoses, sick) {
			diagnoses = append(diagnoses, d)
		}
	}
	return diagnoses
}

// observes tells whether what is decided now is at most observed. If not, what
// was only observed before counts for no limit: nothing was done then.
func (st *stages) observes(mode grace.Mode, kind grace.TriggerKind) bool {
	return mode == grace.ModeObserveOnly || st.Govern.ObserveOnly || !st.Govern.Execute ||
		st.Govern.PredictiveShadow && kind == grace.TriggerProactive
}

// deciding runs f in a transaction while no other process or goroutine decides.
func (l *Loop) deciding(ctx context.Context, f func(context.Context, store.Tx) error) error {
	return l.Store.Do(ctx, func(ctx context.Context, tx store.Tx) error {
		if err := l.Store.LockDeciding(ctx, tx); err != nil {
			return err
		}
		return f(ctx, tx)
	})
}

// decideTogether decides diagnoses in one transaction, and gives the decisions.
// It ends with the first one that makes a run, since those behind it
// must see that run: at least one is decided. Without a new trigger a "no" is
// not written again when it was said before, nor when it only says that a run
// for the trouble is open: that run's decision is the answer.
func (l *Loop) decideTogether(ctx context.Context, st *stages, list []due, sick []grace.ServiceID) ([]grace.Decision, error) {
	began := time.Now()
	var said, decided []grace.Decision
	err := l.deciding(ctx, func(ctx context.Context, tx store.Tx) error {
		said, decided = nil, nil
		now, err := l.present(ctx, tx)
		if err != nil {
			return err
		}
		var c grace.Change
		for _, one := range list {
			v, err := l.view(ctx, tx, st, now, one, sick)
			if err != nil {
				return err
			}
			dec, run := st.decide(one.diagnosis, v)
			sig := signature(dec)
			said = append(said, dec)
			if run == nil && len(one.triggers) == 0 && (sig == one.last || inHand(dec) || v.evidence.State == gate.EvidencePassing) {
				continue
			}
			decided = append(decided, dec)
			if run != nil && !run.Status.Terminal() {
				if err := l.engine.Enqueue(ctx, tx, run.ID, run); err != nil {
					return err
				}
			}
			add(&c, decisionChange(dec, run, st.ApprovalTTL))
			c.Triggers = append(c.Triggers, markDecided(one.triggers, grace.TriggerDecided)...)
			if run != nil {
				break
			}
		}
		if len(decided) == 0 {
			return nil
		}
		return l.Store.Apply(ctx, tx, c)
	})
	if err != nil {
		return nil, err
	}
	for _, dec := range decided {
		l.tell(dec, time.Since(began)/time.Duration(len(decided)))
	}
	return said, nil
}

// tell counts and logs a decision that is written.
func (l *Loop) tell(dec grace.Decision, took time.Duration) {
	l.stats.decided(dec, took)
	l.Log.Info("decision", "id", dec.ID, "decision", dec.Verdict, "service", dec.Service, "code", dec.Diagnosis.Code,
		"kind", dec.Diagnosis.Kind, "playbook", playbookOf(dec), "run", dec.Run, "reason", summary(dec))
}

// add joins the rows of two decisions.
func add(c *grace.Change, more grace.Change) {
	c.Runs = append(c.Runs, more.Runs...)
	c.Decisions = append(c.Decisions, more.Decisions...)
	c.Approvals = append(c.Approvals, more.Approvals...)
	c.Audit = append(c.Audit, more.Audit...)
	c.Events = append(c.Events, more.Events...)
}

// inHand tells whether a run for the same trouble is open.
func inHand(dec grace.Decision) bool {
	return slices.ContainsFunc(dec.Reasons, func(r grace.Reason) bool { return r.Gate == propose.GateOpen && !r.OK })
}

// present is what all decisions of a transaction look at: none of them changes
// it, since the first one that makes a run is the last.
type present struct {
	now      time.Time
	mode     grace.Mode
	open     []gate.Open
	silences []grace.Silence
	well     map[grace.ServiceID]bool
}

func (l *Loop) present(ctx context.Context, tx store.Tx) (p present, err error) {
	p.now = l.Now()
	mode, err := l.Store.Mode(ctx, tx)
	if err != nil {
		return p, fmt.Errorf("read the mode: %w", err)
	}
	p.mode = mode.At(p.now)
	open, err := l.Store.OpenRunHeads(ctx, tx)
	if err != nil {
		return p, fmt.Errorf("read open runs: %w", err)
	}
	p.open, p.well = opens(open), shownWell(l.mirror.allSignals())
	if p.silences, err = l.Store.Silences(ctx, tx, p.now); err != nil {
		return p, fmt.Errorf("read the silences: %w", err)
	}
	return p, nil
}

// view reads what the decision looks at.
func (l *Loop) view(ctx context.Context, tx store.Tx, st *stages, p present, one due, sick []grace.ServiceID) (view, error) {
	v := view{now: p.now, owner: l.Owner, mode: p.mode, ranker: &l.memory}
	d := one.diagnosis
	past, err := l.Store.RunHeads(ctx, tx, store.RunHeadFilter{Service: d.Cause, Since: p.now.Add(-pastWindow)})
	if err != nil {
		return v, fmt.Errorf("read past runs of %s: %w", d.Cause, err)
	}
	if !st.observes(v.mode, d.Kind) {
		past = slices.DeleteFunc(past, func(h store.RunHead) bool { return h.State == grace.RunObservedOnly })
	}
	v.state = propose.State{Open: p.open, Past: pasts(past, l.dated(p.now)), Sick: sick, Total: population(st, sick), Undeclared: st.undeclared(sick), Well: p.well}
	for _, t := range one.triggers {
		v.triggers = append(v.triggers, t.ID)
	}
	if silence, silenced := st.silencedBy(d.Cause, p.silences, p.now); silenced {
		v.evidence = gate.Evidence{State: gate.EvidenceSilenced, Text: silence.String()}
		return v, nil
	}
	v.evidence, err = l.diagnosisEvidence(ctx, tx, &d)
	return v, err
}

// predictionsFresh is how long a prediction holds that is not renewed.
func predictionsFresh(st *stages) time.Duration { return 3 * st.PredictEvery }

func opens(heads []store.RunHead) []gate.Open {
	out := make([]gate.Open, len(heads))
	for i, h := range heads {
		out[i] = gate.Open{Run: h.ID, Service: h.Service, State: h.State, Cone: h.Cone}
	}
	return out
}

// dated gives the time at which the limits take something to have been. What is
// dated ahead of now is from before the clock was set back, and goes back with
// it; where that was before this process began, to that time.
func (l *Loop) dated(now time.Time) func(time.Time) time.Time {
	ahead := now.Add(propose.Ahead)
	setBack, began := time.Duration(l.setBack.Load()), time.UnixMilli(l.epoch.Load())
	return func(t time.Time) time.Time {
		if t.After(ahead) {
			t = t.Add(setBack)
		}
		if t.After(ahead) {
			t = earlier(began, now)
		}
		return t
	}
}

// pasts gives runs as the limits count them.
func pasts(heads []store.RunHead, dated func(time.Time) time.Time) []propose.Past {
	out := make([]propose.Past, len(heads))
	for i, h := range heads {
		h.SickSince, h.CreatedAt = dated(h.SickSince), dated(h.CreatedAt)
		if h.EndedAt != nil {
			h.EndedAt = new(dated(*h.EndedAt))
		}
		result := learn.ResultOf(h.State)
		if h.Aborted {
			result = grace.ResultNeutral // it was stopped: that says nothing of the remedy
		}
		out[i] = propose.Past{
			Run: h.ID, Service: h.Service, Code: h.Code, Kind: h.Kind, Playbook: h.Playbook, State: h.State, Since: h.SickSince, At: h.CreatedAt, EndedAt: h.EndedAt,
			Result: result, Aborted: h.Aborted,
		}
	}
	return out
}

// considered identifies a diagnosis over time: a prediction's has a new id with
// every evaluation.
func considered(d grace.Diagnosis) string {
	if d.Kind == grace.TriggerReactive {
		return string(d.ID)
	}
	return string(d.Kind) + "/" + string(d.Cause) + "/" + string(d.Code)
}

// byService gives pending triggers by the service they are about.
func byService(pending []grace.Trigger) map[grace.ServiceID][]grace.Trigger {
	out := map[grace.ServiceID][]grace.Trigger{}
	for _, t := range pending {
		out[t.Service] = append(out[t.Service], t)
	}
	return out
}

// triggersOf gives the pending triggers that a diagnosis answers, oldest first:
// those of the cause and of its victims.
func triggersOf(d grace.Diagnosis, waiting map[grace.ServiceID][]grace.Trigger) []grace.Trigger {
	out := slices.Clone(waiting[d.Cause])
	for _, v := range d.Victims {
		if v != d.Cause {
			out = append(out, waiting[v]...)
		}
	}
	slices.SortFunc(out, func(a, b grace.Trigger) int { return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.ID, b.ID)) })
	return out
}

func markDecided(triggers []grace.Trigger, state grace.TriggerState) []grace.Trigger {
	out := slices.Clone(triggers)
	for i := range out {
		out[i].State = state
	}
	return out
}
