package healthgraph

import (
	"cmp"
	"slices"
	"time"

	"grace"
)

// maxSymptoms is how many symptoms an assessment lists.
const maxSymptoms = 5

// Assess judges a service by its signals; those of others are passed over.
//
//	a critical signal fires                          -> critical
//	a warning fires, or some signal is unstable      -> degraded
//	some signal has no fresh data, or there is none  -> unknown
//	otherwise                                        -> healthy
//
// A signal that never had data counts as one whose data stopped; one that fails, and has
// not for long enough to fire, is seen. The confidence is
// the share of signals with fresh data. An informational signal is listed and
// changes nothing. Symptoms come worst first with their age at now.
func Assess(service grace.ServiceID, signals []grace.Signal, now time.Time) grace.HealthState {
	state := grace.HealthState{Service: service, Status: grace.HealthUnknown, TopSymptoms: []string{}}
	var symptoms []grace.Signal
	var total, fresh, unstable int
	worst := 0
	for _, s := range signals {
		if s.Service != service {
			continue
		}
		total++
		switch s.State {
		case grace.SignalFiring:
			fresh++
			worst = max(worst, rank(s.Severity))
			symptoms = append(symptoms, s)
		case grace.SignalUnstable:
			fresh++
			unstable++
			symptoms = append(symptoms, s)
		case grace.SignalOK:
			fresh++
		case grace.SignalStale:
			symptoms = append(symptoms, s)
		case grace.SignalUnknown:
			if s.Pending() {
				fresh++
			}
			symptoms = append(symptoms, s)
		}
	}
	if total == 0 {
		return state
	}
	state.Confidence = float64(fresh) / float64(total)
	switch {
	case worst >= rank(grace.SeverityCritical):
		state.Status = grace.HealthCritical
	case worst >= rank(grace.SeverityWarning), unstable > 0:
		state.Status = grace.HealthDegraded
	case fresh < total:
		state.Status = grace.HealthUnknown // what does not show is not well
	default:
		state.Status = grace.HealthHealthy
	}

	slices.SortFunc(symptoms, worstFirst)
	for _, s := range symptoms[:min(len(symptoms), maxSymptoms)] {
		state.TopSymptoms = append(state.TopSymptoms, symptom(s, now))
	}
	return state
}

// Worst gives the signal of a service that is to be named first, and how many of
// its signals are not ok: 0 when nothing is wrong with it.
func Worst(service grace.ServiceID, signals []grace.Signal) (worst grace.Signal, n int) {
	best := -1
	for i := range signals {
		if signals[i].Service != service || signals[i].State == grace.SignalOK {
			continue
		}
		if n++; best < 0 || worstFirst(signals[i], signals[best]) < 0 {
			best = i
		}
	}
	if n > 0 {
		worst = signals[best]
	}
	return worst, n
}

// Silenced gives the alerts of a service that fire while their source keeps them
// silent.
func Silenced(service grace.ServiceID, signals []grace.Signal) (out []grace.Signal) {
	for i := range signals {
		if s := &signals[i]; s.Service == service && s.Silenced != "" && s.State == grace.SignalFiring {
			out = append(out, *s)
		}
	}
	return out
}

func worstFirst(a, b grace.Signal) int {
	return cmp.Or(
		cmp.Compare(stateRank(b.State), stateRank(a.State)),
		cmp.Compare(rank(b.Severity), rank(a.Severity)),
		a.Since.Compare(b.Since),
		cmp.Compare(a.Key, b.Key),
	)
}

func stateRank(s grace.SignalState) int {
	switch s {
	case grace.SignalFiring:
		return 4
	case grace.SignalUnstable:
		return 3
	case grace.SignalStale:
		return 2
	case grace.SignalUnknown:
		return 1
	case grace.SignalOK:
		return 0
	}
	return 0
}

// rank counts a severity that was not said as information: somebody found it
// worth telling.
func rank(s grace.Severity) int { return max(s.Rank(), 1) }

func symptom(s grace.Signal, now time.Time) string {
	text := s.Message
	if text == "" {
		text = cmp.Or(string(s.Code), s.Metric) + " " + cmp.Or(string(s.State), "without data")
	}
	if age := now.Sub(s.Since).Truncate(time.Second); !s.Since.IsZero() && age > 0 {
		text += " (since " + age.String() + ")"
	}
	return text
}
