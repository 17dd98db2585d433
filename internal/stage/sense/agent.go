package sense

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"time"

	"grace"
)

// objectiveSensor stands for the sensor in the key of an objective's signal,
// which may have several sensors behind it and must not change its key when
// one is renamed.
const objectiveSensor = "objective"

// sweepEvery is how often Tick looks for what can be forgotten.
const sweepEvery = time.Minute

// Agent judges samples. It is not safe for concurrent use.
type Agent struct {
	cfg        Config
	objectives map[string]*objective // by ID
	entries    map[grace.SignalKey]*entry
	lists      map[string]*list // by sensor
	measures   map[metricID]sources
	measuring  int // sensors in all of them
	dropped    int
	swept      time.Time
	ticked     time.Time // the newest Tick
	since      time.Time // after when a sample must have been seen to count: the start, or the newest change
}

// New makes an agent whose objectives are all unknown. It expects what
// Validate passed.
func New(cfg Config, objectives []Objective) *Agent {
	a := &Agent{
		cfg: cfg, objectives: map[string]*objective{}, entries: map[grace.SignalKey]*entry{}, lists: map[string]*list{},
		measures: map[metricID]sources{},
	}
	a.setObjectives(objectives)
	return a
}

// Observe takes one sample and gives the signals whose state, severity or
// flapping it changed. A sample that changes nothing does not allocate.
func (a *Agent) Observe(s grace.Sample) []grace.Signal {
	if s.Service == "" || s.Metric == "" || s.At.Unix() < 0 { // before 1970 lies the zero time too
		return nil
	}
	finite := !math.IsNaN(s.Value) && !math.IsInf(s.Value, 0)
	switch s.Kind {
	case grace.SampleAlert:
		if !finite {
			s.Value = 0 // an alert speaks without a value
		}
		return a.observeAlert(&s)
	case grace.SampleMetric, grace.SampleProbe, grace.SampleSeries:
		if !finite {
			return nil
		}
		if s.Listed {
			return append(a.observeList(&s), a.observeValue(&s)...)
		}
		return a.observeValue(&s)
	case grace.SampleSensorError:
		return a.observeError(&s)
	}
	return nil
}

// observeError takes that a sensor could not look: what rests on it is stale,
// with the reason, and has neither failed nor passed.
func (a *Agent) observeError(s *grace.Sample) []grace.Signal {
	var changed []grace.Signal
	if s.Listed {
		changed = a.failList(s)
	}
	blind := func(e *entry) {
		if e.blind(&a.cfg, s) {
			changed = append(changed, e.signal(&a.cfg))
		}
	}
	if e := a.entries[probeKey(s.Service, s.Sensor, s.Metric)]; e != nil && e.kind == kindProbe {
		blind(e)
	}
	for _, id := range slices.Sorted(maps.Keys(a.objectives)) {
		o := a.objectives[id]
		e := o.entries[s.Service]
		if e != nil && slices.Contains(o.metrics, s.Metric) && !a.beside(s, s.At.Add(-e.staleTimeout(&a.cfg))) {
			blind(e)
		}
	}
	return changed
}

// observeValue takes what was measured. What a probe found is judged already; of the
// others the objectives say what they mean, see Judge.
func (a *Agent) observeValue(s *grace.Sample) []grace.Signal {
	if !a.measured(s) || s.Kind != grace.SampleProbe {
		return nil
	}
	e := a.probe(Probe{Service: s.Service, Sensor: s.Sensor, Metric: s.Metric})
	if a.judgeProbe(e, s) {
		return []grace.Signal{e.word(&a.cfg)}
	}
	return e.answer(&a.cfg, nil)
}

func (a *Agent) judgeProbe(e *entry, s *grace.Sample) bool {
	if s.At.Before(e.sig.At) || a.late(e, s.At) {
		return false
	}
	code := cmp.Or(s.Code, e.sig.Code)
	// It goes on firing and means something else: refused, then errors.
	recoded := e.sig.State == grace.SignalFiring && code != e.sig.Code
	e.sig.Code = code
	e.sig.Value, e.sig.Unit, e.note = s.Value, s.Unit, s.Message
	e.arrive(&a.cfg, s.At, s.Labels)
	e.judge(&a.cfg, s.Value <= 0, s.At, s.At)
	return e.settle(&a.cfg, cmp.Or(s.Severity, e.sig.Severity), s.At) || recoded
}

func (a *Agent) observeAlert(s *grace.Sample) []grace.Signal {
	key := alertKey(s)
	e := a.entries[key]
	if e == nil {
		if len(a.entries) >= a.cfg.MaxSeries {
			a.dropped++
			return nil
		}
		e = &entry{kind: kindAlert, sig: grace.Signal{
			Key: key, Service: s.Service, Sensor: s.Sensor, Metric: s.Metric, Kind: grace.SignalAlert,
			Code: grace.CodeDegradation, Severity: grace.SeverityWarning,
		}}
		a.add(e)
	}
	if s.At.Before(e.sig.At) {
		return nil
	}
	if s.Resolved && s.StartsAt.Before(e.sig.StartsAt) && !s.StartsAt.IsZero() {
		return nil // an older occurrence ended; the one that fires is another
	}
	e.sig.Code = cmp.Or(s.Code, e.sig.Code)
	e.sig.Value, e.sig.Unit, e.note = s.Value, s.Unit, s.Message
	// One that fires anew need not be in the list that held it before.
	listed := s.Listed || e.sig.Listed && (s.Resolved || e.held != grace.SignalOK)
	told := s.Silenced != e.sig.Silenced || listed != e.sig.Listed
	e.sig.Listed = listed
	if !s.Repeated.IsZero() && !s.Resolved && e.sig.Silenced != "" && s.Silenced == "" {
		e.unconfirm(s.At) // what was silent is to be sent again before anything is done about it
	}
	e.sig.Silenced, e.sig.Expires = s.Silenced, s.Expires
	if s.Repeated.After(e.sig.Repeated) {
		e.sig.Repeated = s.Repeated
	}
	if s.StartsAt.After(e.sig.StartsAt) {
		e.sig.StartsAt = s.StartsAt
	}
	e.arrive(&a.cfg, s.At, s.Labels)
	// That a list holds it, or is notified of, shows nothing new: whoever sends to it may
	// have been away since.
	e.unlisted = time.Time{}
	switch {
	case s.Repeated.IsZero(), s.Resolved, s.Repeated.After(e.since):
		e.confirm(s.At)
	case !s.Listed:
		e.unlisted = s.At
	}
	e.judged, e.passing = s.At, s.Resolved
	if s.Resolved {
		e.over, e.lastPass = s.At, s.At
		e.hold(&a.cfg, grace.SignalOK, s.At)
	} else {
		e.hold(&a.cfg, grace.SignalFiring, s.At)
		e.sig.Fired = s.At
	}
	if !e.settle(&a.cfg, cmp.Or(s.Severity, e.sig.Severity), s.At) && !told {
		return e.answer(&a.cfg, nil)
	}
	return []grace.Signal{e.signal(&a.cfg)}
}

// Tick lets time pass: signals go stale, an objective's For runs out, flapping
// ends, and what nobody asks for any more is forgotten. It gives the signals
// that changed, sorted by key.
func (a *Agent) Tick(now time.Time) []grace.Signal {
	a.ticked = now
	var changed []grace.Signal
	for _, e := range a.entries {
		if e.kind == kindAlert {
			e.list = a.lists[e.sig.Sensor]
		}
		e.expire(now)
		e.markStale(&a.cfg, now)
		if e.kind == kindObjective {
			e.fireIfDue(&a.cfg, now)
		}
		alone := e.unseen(&a.cfg, now) || e.settled(&a.cfg, now)
		if e.seenElsewhere() && e.sig.State != grace.SignalStale {
			continue // another replica's word on it is newer than what this one saw, and stands
		}
		if e.settle(&a.cfg, e.sig.Severity, now) || alone {
			changed = append(changed, e.word(&a.cfg))
		}
	}
	if now.Sub(a.swept) >= sweepEvery {
		a.swept = now
		changed = append(changed, a.sweep(now)...)
	}
	slices.SortFunc(changed, compareKeys)
	return changed
}

// Failing gives the services of which something serious that holds for well has failed
// when it was seen last, though not for long enough to fire.
func (a *Agent) Failing() map[grace.ServiceID]bool {
	out := map[grace.ServiceID]bool{}
	for _, e := range a.entries {
		if e.fails > 0 && e.held == grace.SignalOK && !e.stale && e.sig.Severity.Serious() {
			out[e.sig.Service] = true
		}
	}
	return out
}

// Signals gives all current signals, sorted by key.
func (a *Agent) Signals() []grace.Signal {
	out := make([]grace.Signal, 0, len(a.entries))
	for _, e := range a.entries {
		out = append(out, e.signal(&a.cfg))
	}
	slices.SortFunc(out, compareKeys)
	return out
}

// Signal gives the current signal of a key.
func (a *Agent) Signal(key grace.SignalKey) (s grace.Signal, known bool) {
	e := a.entries[key]
	if e == nil {
		return s, false
	}
	return e.signal(&a.cfg), true
}

// Latest gives a published signal with what this process has seen of it since: the
// value, the time and the message of the newest sample, where that says the same.
// Others are given as they are.
func (a *Agent) Latest(s grace.Signal) grace.Signal {
	e := a.entries[s.Key]
	if e == nil || e.sig.State != s.State || !e.sig.At.After(s.At) {
		return s
	}
	now := e.signal(&a.cfg)
	s.Value, s.Unit, s.At, s.Fired, s.Message = now.Value, now.Unit, now.At, now.Fired, now.Message
	return s
}

// Dropped counts what MaxSeries left no room for.
func (a *Agent) Dropped() int { return a.dropped }

// add takes in an entry that has no data yet.
func (a *Agent) add(e *entry) {
	a.entries[e.sig.Key] = e
	if !a.since.IsZero() {
		e.unconfirm(a.since)
	}
}

// probe finds or makes the entry of a probe.
func (a *Agent) probe(p Probe) *entry {
	key := probeKey(p.Service, p.Sensor, p.Metric)
	e := a.entries[key]
	if e == nil {
		e = &entry{sig: grace.Signal{
			Key: key, Service: p.Service, Sensor: p.Sensor, Metric: p.Metric, Kind: grace.SignalProbe,
			Code:     cmp.Or(p.Code, grace.CodeServiceDown),
			Severity: cmp.Or(p.Severity, grace.SeverityCritical),
		}}
		a.add(e)
	}
	e.kind = kindProbe
	return e
}

func probeKey(service grace.ServiceID, sensor, metric string) grace.SignalKey {
	return grace.SignalKey(string(service) + "/" + sensor + "/" + metric)
}

func alertKey(s *grace.Sample) grace.SignalKey {
	key := probeKey(s.Service, s.Sensor, s.Metric)
	if s.Fingerprint == "" {
		return key
	}
	return key + "/" + grace.SignalKey(s.Fingerprint)
}

func compareKeys(a, b grace.Signal) int { return cmp.Compare(a.Key, b.Key) }
