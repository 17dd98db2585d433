package decide

import (
	"slices"
	"time"

	"grace"
	"grace/domain/core"
	"grace/internal/content"
	"grace/internal/stage/diagnose"
	"grace/internal/stage/propose"
)

// Scene is what is known of all services at a time, and what follows from it.
type Scene struct {
	At          time.Time
	Signals     []grace.Signal     // sorted by key
	Predictions []grace.Prediction // sorted by key
	// SignalMap and PredictionMap are the same, as they are recorded.
	SignalMap, PredictionMap content.Map

	Diagnoses []grace.Diagnosis        // the most urgent first
	Sick      []grace.ServiceID        // that count for the circuit breaker
	Unseen    []grace.ServiceID        // that count, too: sick when seen last, in a storm that is told
	Well      map[grace.ServiceID]bool // that are shown to be well
}

// Glance makes a scene of what is known, as an admission needs it: without diagnoses.
func Glance(at time.Time, signals []grace.Signal, predictions []grace.Prediction) *Scene {
	return &Scene{At: at, Signals: signals, Predictions: predictions, Well: ShownWell(signals)}
}

// Look makes a whole scene of what is known.
func (r *Rules) Look(at time.Time, signals []grace.Signal, predictions []grace.Prediction) *Scene {
	sc := Glance(at, signals, predictions)
	sc.Diagnoses = r.diagnoseAll(sc)
	sc.Sick = r.storming(sc)
	return sc
}

// Known is what is known when a snapshot is taken.
type Known struct {
	*Scene

	Own      []grace.Signal  // of the service, as the transaction read them
	Open     []grace.OpenRun // that have not ended, the oldest first
	OpenMap  content.Map     // the same, as it is recorded
	Silences []grace.Silence // that have not ended
	Parts    content.Parts   // what a snapshot of it names
}

func (r *Rules) state(s *grace.Snapshot, k *Known) propose.State {
	sick := slices.Concat(k.Sick, k.Unseen)
	return propose.State{
		Past: s.Past, Manual: s.Manual, Stopped: s.Stopped, Open: k.Open, Well: k.Well, Sick: sick, Total: r.population(sick), Undeclared: r.undeclared(sick),
	}
}

// Storm tells whether so many services are sick at once that nothing is done.
func (r *Rules) Storm(sick []grace.ServiceID) (grace.Reason, bool) {
	return r.propose.Storm(propose.State{Sick: sick, Total: r.population(sick), Undeclared: r.undeclared(sick)})
}

// diagnoseAll diagnoses what signals and predictions say together. In shadow a
// prediction must not weigh in where something is done: the signals are
// diagnosed without, and only what is foreseen of services that are well is
// added, to be judged for the record.
func (r *Rules) diagnoseAll(sc *Scene) []grace.Diagnosis {
	together := r.diagnose.Diagnose(diagnose.Input{Now: sc.At, Signals: sc.Signals, Predictions: sc.Predictions})
	if !r.Govern.PredictiveShadow || len(sc.Predictions) == 0 {
		return together
	}
	diagnoses := r.diagnose.Diagnose(diagnose.Input{Now: sc.At, Signals: sc.Signals})
	for _, d := range together {
		sick := func(other grace.Diagnosis) bool { return other.Cause == d.Cause }
		if d.Kind == grace.TriggerProactive && !slices.ContainsFunc(diagnoses, sick) {
			diagnoses = append(diagnoses, d)
		}
	}
	return diagnoses
}

// storming gives the services that count for the circuit breaker: those that
// are sick of themselves, seriously, and not silenced. GRACE's own parts do not, nor
// does what is only known from before a start.
func (r *Rules) storming(sc *Scene) []grace.ServiceID {
	confirmed := map[grace.ServiceID]bool{}
	for i := range sc.Signals {
		if s := &sc.Signals[i]; s.Sick() && !s.Unconfirmed {
			confirmed[s.Service] = true
		}
	}
	var sick []grace.ServiceID
	for _, d := range sc.Diagnoses {
		if s, _ := r.Graph.Service(d.Cause); s.Domain == core.Name {
			continue
		}
		if d.Kind == grace.TriggerReactive && d.Severity.Serious() && confirmed[d.Cause] && !slices.Contains(sick, d.Cause) {
			sick = append(sick, d.Cause)
		}
	}
	return sick
}

// population counts the services of a share: the described ones without GRACE's
// own parts, and those that others send signals about.
func (r *Rules) population(sick []grace.ServiceID) int {
	n := r.undeclared(sick)
	for i := range r.Services {
		if r.Services[i].Domain != core.Name {
			n++
		}
	}
	return n
}

// undeclared counts those that nobody described.
func (r *Rules) undeclared(ids []grace.ServiceID) (n int) {
	for _, id := range ids {
		if !r.Declared(id) {
			n++
		}
	}
	return n
}

// ShownWell gives the services that are shown to be well: one serious signal at
// least passed since this process began, and none says otherwise or has no data. An
// alert that its source keeps silent says otherwise, too.
func ShownWell(signals []grace.Signal) map[grace.ServiceID]bool { return shownWell(signals, false) }

// WellOrSilenced gives those, the services of which only alerts say otherwise that
// their source keeps silent, as people want to hear no more of them, and those whose
// alerts were over before this process began.
func WellOrSilenced(signals []grace.Signal) map[grace.ServiceID]bool { return shownWell(signals, true) }

func shownWell(signals []grace.Signal, orSilenced bool) map[grace.ServiceID]bool {
	well := map[grace.ServiceID]bool{}
	for i := range signals {
		s := &signals[i]
		switch {
		case !s.Severity.Serious(), s.State == grace.SignalUnknown:
		case s.State == grace.SignalOK && !s.Unconfirmed:
			if _, said := well[s.Service]; !said {
				well[s.Service] = true
			}
		case s.State == grace.SignalOK && s.Kind == grace.SignalObjective, s.State == grace.SignalOK && s.Kind == grace.SignalAlert && !orSilenced:
			// It was well: a long window takes hours until it is judged again, and that an
			// alert is over nobody repeats.
		case s.State == grace.SignalOK && s.Kind == grace.SignalAlert:
			if _, said := well[s.Service]; !said {
				well[s.Service] = true
			}
		case s.Silenced == "" || !orSilenced:
			well[s.Service] = false
		}
	}
	return well
}

// BlastRadius counts what depends on a service and would suffer with it.
func (r *Rules) BlastRadius(id grace.ServiceID, well map[grace.ServiceID]bool) int {
	return r.Graph.BlastRadius(id, func(id grace.ServiceID) bool { return !well[id] })
}
