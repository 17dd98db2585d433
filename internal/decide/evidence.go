package decide

import (
	"cmp"
	"slices"
	"time"

	"grace"
	"grace/internal/gate"
)

// Evidence says what signals, as they are, say of a condition.
func Evidence(condition []grace.SignalKey, signals []grace.Signal) gate.Evidence {
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

// unlessSilenced gives the evidence, or that an alert of the service, whose
// signals are given, is silenced at its source.
func unlessSilenced(e gate.Evidence, signals []grace.Signal) gate.Evidence {
	if e.State != gate.EvidenceFresh {
		return e
	}
	i := slices.IndexFunc(signals, func(s grace.Signal) bool { return s.SilencedAtSource() })
	if i < 0 {
		return e
	}
	return silencedAtSource(&signals[i])
}

// Come is the evidence that something is there now that a code names, in the
// signals of a service.
func Come(signals []grace.Signal, code grace.Code) gate.Evidence {
	var condition []grace.SignalKey
	for _, s := range signals {
		if s.Code == code && s.Severity.Serious() {
			condition = append(condition, s.Key)
		}
	}
	return unlessSilenced(Evidence(condition, signals), signals)
}

// TrendTurned is the evidence that nothing is foreseen of a service any more.
func TrendTurned(service grace.ServiceID) gate.Evidence {
	return gate.Evidence{State: gate.EvidenceCleared, Source: "prediction/" + string(service)}
}

// Foreseen tells whether something is foreseen of a service, with a likelihood at
// least. A prediction is evidence for as long as it is made anew: after a start or a
// change of the configuration that takes one evaluation.
func (r *Rules) Foreseen(now, since time.Time, predictions []grace.Prediction, service grace.ServiceID, code grace.Code, least float64) gate.Evidence {
	text, not := "", 1.0 // what is foreseen, and how likely it is that nothing of it comes
	for i := range predictions {
		p := &predictions[i]
		if p.Service == service && p.Code == code && now.Sub(p.At) <= r.PredictionsFresh() {
			text, not = cmp.Or(text, p.Title), not*(1-p.Likelihood)
		}
	}
	switch {
	case not < 1 && 1-not >= least:
		return gate.Evidence{State: gate.EvidenceFresh, Text: text, Source: "prediction/" + string(service)}
	case now.Sub(since) < r.PredictionsFresh():
		return gate.Evidence{State: gate.EvidenceUnconfirmed, Source: "prediction/" + string(service)}
	}
	return TrendTurned(service)
}

// silenced is the evidence of a service that a person keeps silent.
func (r *Rules) silenced(s *grace.Snapshot, k *Known) (gate.Evidence, bool) {
	silence, silenced := r.SilencedBy(s.Service, k.Silences, s.At)
	return gate.Evidence{State: gate.EvidenceSilenced, Text: silence.String(), Source: "silence/" + string(silence.ID)}, silenced
}

// ofDiagnosis looks whether what a diagnosis rests on is there.
func (r *Rules) ofDiagnosis(s *grace.Snapshot, k *Known, d *grace.Diagnosis) gate.Evidence {
	if e, silenced := r.silenced(s, k); silenced {
		return e
	}
	if d.Kind == grace.TriggerProactive {
		return unlessSilenced(r.Foreseen(s.At, s.Since, k.Predictions, d.Cause, d.Code, 0), k.Own)
	}
	return unlessSilenced(Evidence(d.Condition(), sinceLastRun(k.Own, s.Past)), k.Own)
}

// sinceLastRun takes from the alerts of a list that they are evidence, unless their
// sender has sent them again since a run on the service ended: it may have helped.
func sinceLastRun(signals []grace.Signal, past []grace.PastRun) []grace.Signal {
	var ended time.Time
	for _, p := range past {
		switch p.Status { //nolint:exhaustive // the others did nothing
		case grace.RunSucceeded, grace.RunIneffective, grace.RunRolledBack, grace.RunEscalated, grace.RunAborted:
			if p.EndedAt != nil && p.EndedAt.After(ended) {
				ended = *p.EndedAt
			}
		}
	}
	if ended.IsZero() {
		return signals
	}
	out := slices.Clone(signals)
	for i := range out {
		if !SentSince(&out[i], ended) {
			out[i].Unconfirmed = true
		}
	}
	return out
}

// SentSince tells whether a signal may say something of a time: an alert of a list
// does not of what was after its sender sent it last.
func SentSince(s *grace.Signal, t time.Time) bool {
	return !s.Listed || s.Repeated.IsZero() || s.Repeated.After(t)
}

// leastOf is the likelihood that the gate of a run asks for, still: what a person
// approved needs no more than to be told.
func (r *Rules) leastOf(run *grace.Run) float64 {
	if run.Auto {
		return r.Govern.MinConfidenceProactive
	}
	return r.Diagnose.MinLikelihood
}

// ofRun looks whether what began the run of a snapshot is there: what it rests on,
// or, for one that rests on a prediction, also what was foreseen.
func (r *Rules) ofRun(s *grace.Snapshot, k *Known) gate.Evidence {
	run := s.Run
	if e, silenced := r.silenced(s, k); silenced {
		return e
	}
	if run.Kind != grace.TriggerProactive {
		return unlessSilenced(Evidence(run.Condition, k.Own), k.Own)
	}
	if e := unlessSilenced(r.Foreseen(s.At, s.Since, k.Predictions, run.Service, run.Code, r.leastOf(run)), k.Own); e.State != gate.EvidenceCleared {
		return e
	}
	if come := Come(k.Own, run.Code); come.State == gate.EvidenceFresh {
		return come
	}
	return TrendTurned(run.Service)
}
