package loop

import (
	"context"
	"fmt"
	"slices"
	"time"

	"grace"
	"grace/internal/gate"
	"grace/internal/store"
)

// evidenceOf says what the signals of a service, as they are now, say of a
// condition.
func evidenceOf(condition []grace.SignalKey, signals []grace.Signal) gate.Evidence {
	best := gate.Evidence{State: gate.EvidenceCleared}
	order := []gate.EvidenceState{
		gate.EvidenceCleared, gate.EvidenceNoData, gate.EvidencePassing, gate.EvidenceUnconfirmed,
		gate.EvidenceSilenced, gate.EvidenceFresh,
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

func evidenceFrom(s *grace.Signal) gate.Evidence {
	e := gate.Evidence{State: gate.EvidenceFresh, Text: s.Message, Source: "signal/" + string(s.Key)}
	switch {
	case s.State == grace.SignalOK:
		e.State = gate.EvidenceCleared
	case s.Silenced != "":
		e = silencedAtSource(s)
	case s.State == grace.SignalStale, s.State == grace.SignalUnknown:
		e.State = gate.EvidenceNoData
	case s.Unconfirmed:
		e.State = gate.EvidenceUnconfirmed
	case s.State == grace.SignalUnstable, s.Passing:
		e.State = gate.EvidencePassing
	}
	return e
}

// silencedAtSource is the evidence of a service one of whose alerts is silenced
// by its sender: whoever silenced it does not want it touched.
func silencedAtSource(s *grace.Signal) gate.Evidence {
	return gate.Evidence{State: gate.EvidenceSilenced, Text: s.Silenced, Source: "signal/" + string(s.Key)}
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
func (l *Loop) evidence(ctx context.Context, tx store.Querier, service grace.ServiceID, condition []grace.SignalKey) (gate.Evidence, error) {
	signals, err := l.signalsNow(ctx, tx, service)
	if err != nil {
		return gate.Evidence{}, err
	}
	return evidenceIn(signals, condition), nil
}

// evidenceIn is the evidence of a condition, unless an alert of the service,
// whose signals are given, is silenced at its source.
func evidenceIn(signals []grace.Signal, condition []grace.SignalKey) gate.Evidence {
	best := evidenceOf(condition, signals)
	if best.State == gate.EvidenceFresh {
		return unlessSilenced(best, signals)
	}
	return best
}

// unlessSilenced gives the evidence, or that an alert of the service, whose
// signals are given, is silenced at its source.
func unlessSilenced(e gate.Evidence, signals []grace.Signal) gate.Evidence {
	i := slices.IndexFunc(signals, func(s grace.Signal) bool { return s.SilencedAtSource() })
	if i < 0 {
		return e
	}
	return silencedAtSource(&signals[i])
}

// foreseenEvidence looks whether something is foreseen now of a service that
// nobody has silenced.
func (l *Loop) foreseenEvidence(ctx context.Context, tx store.Querier, service grace.ServiceID, code grace.Code) (gate.Evidence, error) {
	e := l.predictedEvidence(service, code)
	if e.State != gate.EvidenceFresh {
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
func (l *Loop) diagnosisEvidence(ctx context.Context, tx store.Querier, d *grace.Diagnosis) (gate.Evidence, error) {
	if d.Kind == grace.TriggerProactive {
		return l.foreseenEvidence(ctx, tx, d.Cause, d.Code)
	}
	return l.evidence(ctx, tx, d.Cause, d.Condition())
}

// predictedEvidence tells whether a condition is foreseen now. A prediction is
// evidence for as long as it is made anew: after a start or a change of the
// configuration that takes one evaluation.
func (l *Loop) predictedEvidence(service grace.ServiceID, code grace.Code) gate.Evidence {
	now, fresh := l.Now(), predictionsFresh(l.stages.Load())
	predictions := l.mirror.current(now, fresh)
	i := slices.IndexFunc(predictions, func(p grace.Prediction) bool { return p.Service == service && p.Code == code })
	switch {
	case i >= 0:
		return gate.Evidence{State: gate.EvidenceFresh, Text: predictions[i].Title, Source: "prediction/" + string(service)}
	case now.Sub(time.UnixMilli(l.epoch.Load())) < fresh:
		return gate.Evidence{State: gate.EvidenceUnconfirmed, Source: "prediction/" + string(service)}
	}
	return trendTurned(service)
}

// trendTurned is the evidence that nothing is foreseen of a service any more.
func trendTurned(service grace.ServiceID) gate.Evidence {
	return gate.Evidence{State: gate.EvidenceCleared, Source: "prediction/" + string(service)}
}

// runEvidence looks whether what began a run is there: what it rests on, or,
// for one that rests on a prediction, also what was foreseen.
func (l *Loop) runEvidence(ctx context.Context, tx store.Querier, run *grace.Run) (gate.Evidence, error) {
	if run.Kind != grace.TriggerProactive {
		return l.evidence(ctx, tx, run.Service, run.Condition)
	}
	if e, err := l.foreseenEvidence(ctx, tx, run.Service, run.Code); err != nil || e.State != gate.EvidenceCleared {
		return e, err
	}
	come, err := l.hasCome(ctx, tx, run.Service, run.Code)
	if err != nil || come.State == gate.EvidenceFresh {
		return come, err
	}
	return trendTurned(run.Service), nil
}

// hasCome looks whether what was foreseen of a service is there.
func (l *Loop) hasCome(ctx context.Context, tx store.Querier, service grace.ServiceID, code grace.Code) (gate.Evidence, error) {
	signals, err := l.signalsNow(ctx, tx, service)
	if err != nil {
		return gate.Evidence{}, err
	}
	return comeIn(signals, code), nil
}

// comeIn is the evidence that something is there now that a code names, in the
// signals of a service.
func comeIn(signals []grace.Signal, code grace.Code) gate.Evidence {
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
func (l *Loop) evidenceNow(ctx context.Context, q store.Querier, st *stages, run *grace.Run, now time.Time) (gate.Evidence, error) {
	silences, err := l.Store.Silences(ctx, q, now)
	if err != nil {
		return gate.Evidence{}, fmt.Errorf("read the silences: %w", err)
	}
	if silence, silenced := st.silencedBy(run.Service, silences, now); silenced {
		return gate.Evidence{State: gate.EvidenceSilenced, Text: silence.String(), Source: "silence/" + string(silence.ID)}, nil
	}
	return l.runEvidence(ctx, q, run)
}
