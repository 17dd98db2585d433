package loop

import (
	"context"
	"fmt"
	"slices"
	"time"

	"grace"
	"grace/internal/propose"
	"grace/internal/store"
)

// evidenceOf says what the signals of a service, as they are now, say of a
// condition.
func evidenceOf(condition []grace.SignalKey, signals []grace.Signal) propose.Evidence {
	best := propose.Evidence{State: propose.EvidenceCleared}
	order := []propose.EvidenceState{
		propose.EvidenceCleared, propose.EvidenceNoData, propose.EvidencePassing, propose.EvidenceUnconfirmed,
		propose.EvidenceSilenced, propose.EvidenceFresh,
	}
	for i := range signals {
		if !slices.Contains(condition, signals[i].Key) {
			continue
		}
		e := evidenceFrom(&signals[i])
		if slices.Index(order, e.State) >= slices.Index(order, best.State) {
			best = e
		}
	}
	return best
}

func evidenceFrom(s *grace.Signal) propose.Evidence {
	e := propose.Evidence{State: propose.EvidenceFresh, Text: s.Message, Source: "signal/" + string(s.Key)}
	switch {
	case s.State == grace.SignalOK:
		e.State = propose.EvidenceCleared
	case s.Silenced != "":
		e = silencedAtSource(s)
	case s.State == grace.SignalStale, s.State == grace.SignalUnknown:
		e.State = propose.EvidenceNoData
	case s.Unconfirmed:
		e.State = propose.EvidenceUnconfirmed
	case s.State == grace.SignalUnstable, s.Passing:
		e.State = propose.EvidencePassing
	}
	return e
}

// silencedAtSource is the evidence of a service one of whose alerts is silenced
// by its sender: whoever silenced it does not want it touched.
func silencedAtSource(s *grace.Signal) propose.Evidence {
	return propose.Evidence{State: propose.EvidenceSilenced, Text: s.Silenced, Source: "signal/" + string(s.Key)}
}

// signalsNow gives the signals of a service as they are stored, with what this
// process itself knows. What the rows say was seen by some replica; that it was
// seen since this process began, or since its configuration changed, it knows
// itself.
func (l *Loop) signalsNow(ctx context.Context, q store.Querier, service grace.ServiceID) ([]grace.Signal, error) {
	rows, err := l.Store.Signals(ctx, q, service)
	if err != nil {
		return nil, fmt.Errorf("look at the signals of %s: %w", service, err)
	}
	for i, s := range rows {
		s.Unconfirmed = l.mirror.isUnconfirmed(s.Key)
		rows[i] = l.newest(s)
	}
	return rows, nil
}

// evidence looks at a condition again, in the transaction.
func (l *Loop) evidence(ctx context.Context, tx store.Querier, service grace.ServiceID, condition []grace.SignalKey) (propose.Evidence, error) {
	signals, err := l.signalsNow(ctx, tx, service)
	if err != nil {
		return propose.Evidence{}, err
	}
	return evidenceIn(signals, condition), nil
}

// evidenceIn is the evidence of a condition, unless an alert of the service,
// whose signals are given, is silenced at its source.
func evidenceIn(signals []grace.Signal, condition []grace.SignalKey) propose.Evidence {
	best := evidenceOf(condition, signals)
	if best.State == propose.EvidenceFresh {
		return unlessSilenced(best, signals)
	}
	return best
}

// unlessSilenced gives the evidence, or that an alert of the service, whose
// signals are given, is silenced at its source.
func unlessSilenced(e propose.Evidence, signals []grace.Signal) propose.Evidence {
	i := slices.IndexFunc(signals, func(s grace.Signal) bool { return s.SilencedAtSource() })
	if i < 0 {
		return e
	}
	return silencedAtSource(&signals[i])
}

// foreseenEvidence looks whether something is foreseen now of a service that
// nobody has silenced.
func (l *Loop) foreseenEvidence(ctx context.Context, tx store.Querier, service grace.ServiceID, code grace.Code) (propose.Evidence, error) {
	e := l.predictedEvidence(service, code)
	if e.State != propose.EvidenceFresh {
		return e, nil
	}
	rows, err := l.Store.Signals(ctx, tx, service)
	if err != nil {
		return e, fmt.Errorf("look at the signals of %s: %w", service, err)
	}
	return unlessSilenced(e, rows), nil
}

// newest adds what this process has seen since a row was written, which may not
// be durable yet: that it passed, or that its sender does not repeat it.
func (l *Loop) newest(row grace.Signal) grace.Signal {
	if row.State != grace.SignalFiring {
		return row
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	own, known := l.sense.Signal(row.Key)
	switch {
	case l.sense.PassedSince(row):
		row.Passing, row.Message = true, own.Message
	case !row.Expires.IsZero() && l.Now().After(row.Expires) && (!known || !own.Expires.After(row.Expires)):
		row.State, row.Message = grace.SignalStale, row.Metric+": not repeated until "+row.Expires.UTC().Format("15:04:05 MST")
	}
	return row
}

// diagnosisEvidence looks whether what a diagnosis rests on is there.
func (l *Loop) diagnosisEvidence(ctx context.Context, tx store.Querier, d *grace.Diagnosis) (propose.Evidence, error) {
	if d.Kind == grace.TriggerProactive {
		return l.foreseenEvidence(ctx, tx, d.Cause, d.Code)
	}
	return l.evidence(ctx, tx, d.Cause, d.Condition())
}

// predictedEvidence tells whether a condition is foreseen now. A prediction is
// evidence for as long as it is made anew: after a start or a change of the
// configuration that takes one evaluation.
func (l *Loop) predictedEvidence(service grace.ServiceID, code grace.Code) propose.Evidence {
	now, fresh := l.Now(), predictionsFresh(l.stages.Load())
	predictions := l.mirror.current(now, fresh)
	i := slices.IndexFunc(predictions, func(p grace.Prediction) bool { return p.Service == service && p.Code == code })
	switch {
	case i >= 0:
		return propose.Evidence{State: propose.EvidenceFresh, Text: predictions[i].Title, Source: "prediction/" + string(service)}
	case now.Sub(time.UnixMilli(l.epoch.Load())) < fresh:
		return propose.Evidence{State: propose.EvidenceUnconfirmed, Source: "prediction/" + string(service)}
	}
	return trendTurned(service)
}

// trendTurned is the evidence that nothing is foreseen of a service any more.
func trendTurned(service grace.ServiceID) propose.Evidence {
	return propose.Evidence{State: propose.EvidenceCleared, Source: "prediction/" + string(service)}
}

// runEvidence looks whether what began a run is there: what it rests on, or,
// for one that rests on a prediction, also what was foreseen.
func (l *Loop) runEvidence(ctx context.Context, tx store.Querier, run *grace.Run) (propose.Evidence, error) {
	if run.Kind != grace.TriggerProactive {
		return l.evidence(ctx, tx, run.Service, run.Condition)
	}
	if e, err := l.foreseenEvidence(ctx, tx, run.Service, run.Code); err != nil || e.State != propose.EvidenceCleared {
		return e, err
	}
	come, err := l.hasCome(ctx, tx, run.Service, run.Code)
	if err != nil || come.State == propose.EvidenceFresh {
		return come, err
	}
	return trendTurned(run.Service), nil
}

// hasCome looks whether what was foreseen of a service is there.
func (l *Loop) hasCome(ctx context.Context, tx store.Querier, service grace.ServiceID, code grace.Code) (propose.Evidence, error) {
	signals, err := l.signalsNow(ctx, tx, service)
	if err != nil {
		return propose.Evidence{}, err
	}
	return comeIn(signals, code), nil
}

// comeIn is the evidence that something is there now that a code names, in the
// signals of a service.
func comeIn(signals []grace.Signal, code grace.Code) propose.Evidence {
	var condition []grace.SignalKey
	for _, s := range signals {
		if s.Code == code && s.Severity.Serious() {
			condition = append(condition, s.Key)
		}
	}
	return evidenceIn(signals, condition)
}

// silencedBy gives the silence of a service that is in force.
func (st *stages) silencedBy(id grace.ServiceID, silences []grace.Silence, now time.Time) (grace.Silence, bool) {
	service, known := st.graph.Service(id)
	if !known {
		service.ID = id
	}
	i := slices.IndexFunc(silences, func(s grace.Silence) bool { return s.Active(now) && s.Matches(service) })
	if i < 0 {
		return grace.Silence{}, false
	}
	return silences[i], true
}

// evidenceNow tells what a run may begin on now: nothing while the service is
// silenced.
func (l *Loop) evidenceNow(ctx context.Context, q store.Querier, st *stages, run *grace.Run, now time.Time) (propose.Evidence, error) {
	silences, err := l.Store.Silences(ctx, q, now)
	if err != nil {
		return propose.Evidence{}, fmt.Errorf("read the silences: %w", err)
	}
	if silence, silenced := st.silencedBy(run.Service, silences, now); silenced {
		return propose.Evidence{State: propose.EvidenceSilenced, Text: silence.String(), Source: "silence/" + string(silence.ID)}, nil
	}
	return l.runEvidence(ctx, q, run)
}
