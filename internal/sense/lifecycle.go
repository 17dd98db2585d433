package sense

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"grace"
)

// Restore takes over the signals of an earlier process. What fired goes on
// firing until data says otherwise; the time in between does not count as time
// without data. Signals of objectives that are gone are passed over, and so is
// a signal that has data already.
func (a *Agent) Restore(signals []grace.Signal) {
	for _, s := range signals {
		e := a.entries[s.Key]
		switch {
		case e == nil && strings.HasPrefix(string(s.Key), string(probeKey(s.Service, objectiveSensor, s.Metric))+"/"):
			continue
		case e == nil && len(a.entries) >= a.cfg.MaxSeries:
			continue
		case e == nil:
			e = &entry{sig: s, kind: kindProbe}
			if s.Key != probeKey(s.Service, s.Sensor, s.Metric) {
				e.kind = kindAlert
			}
			a.entries[s.Key] = e
		case !e.sig.At.IsZero():
			continue
		default:
			// What the configuration says now stays.
			code, severity, threshold, unit := e.sig.Code, e.sig.Severity, e.sig.Threshold, e.sig.Unit
			e.sig = s
			e.sig.Code, e.sig.Severity, e.sig.Threshold, e.sig.Unit = code, severity, threshold, unit
		}
		e.restored = true
		e.note = restoredNote(s)
		e.stale = s.State == grace.SignalStale
		e.flapping = s.Flapping
		switch s.State {
		case grace.SignalFiring, grace.SignalOK:
			e.held = s.State
		case grace.SignalStale:
			// Firing before, as far as is known, unless it never fired: what
			// went silent while firing has not recovered by a restart.
			e.held = grace.SignalOK
			if s.Fired.Equal(s.At) && !s.At.IsZero() {
				e.held = grace.SignalFiring
			}
		case grace.SignalUnknown:
		}
		if e.held == grace.SignalFiring {
			e.firingSince = s.Since
		}
	}
}

// restoredNote gets the source's words back out of a message.
func restoredNote(s grace.Signal) string {
	_, note, _ := strings.Cut(s.Message, ": ")
	note, _, _ = strings.Cut(note, "; flapping: ")
	return note
}

// Reconfigure changes limits and objectives and keeps all that is known: an
// objective of the same service, metric and name keeps its state and is judged
// by its new terms from the next sample on. It gives the signals of objectives
// that are gone, as ok, sorted by key; they are not known any more.
func (a *Agent) Reconfigure(cfg Config, objectives []Objective) []grace.Signal {
	a.cfg = cfg
	kept := make(map[grace.SignalKey]bool, len(objectives))
	for i := range objectives {
		kept[objectiveKey(&objectives[i])] = true
	}
	var gone []grace.Signal
	for key, e := range a.entries {
		if e.kind == kindObjective && !kept[key] {
			gone = append(gone, a.forget(e, "objective removed"))
		}
	}
	a.setObjectives(objectives)
	slices.SortFunc(gone, compareKeys)
	return gone
}

// Expect names the configured probes: they are unknown until their first
// sample, and never forgotten. Probes that were expected before and are not
// any more are given as ok, sorted by key, and forgotten.
func (a *Agent) Expect(probes []Probe) []grace.Signal {
	kept := make(map[grace.SignalKey]bool, len(probes))
	for _, p := range probes {
		e := a.probe(p)
		e.expected = true
		e.sig.Code, e.sig.Severity = cmp.Or(p.Code, e.sig.Code), cmp.Or(p.Severity, e.sig.Severity)
		kept[e.sig.Key] = true
	}
	var gone []grace.Signal
	for key, e := range a.entries {
		if e.kind == kindProbe && e.expected && !kept[key] {
			gone = append(gone, a.forget(e, "probe removed"))
		}
	}
	slices.SortFunc(gone, compareKeys)
	return gone
}

func (a *Agent) setObjectives(objectives []Objective) {
	for _, line := range a.series {
		line.objectives, line.totals = nil, nil
		line.retain = a.cfg.Retain.D()
	}
	for i := range objectives {
		o := objectives[i].withDefaults()
		key := objectiveKey(&o)
		e := a.entries[key]
		if e == nil {
			e = &entry{kind: kindObjective, sig: grace.Signal{
				Key: key, Service: o.Service, Metric: o.Metric, Severity: o.Severity,
			}}
			a.entries[key] = e
		}
		if before := e.objective; o.Aggregation != aggregateBurn {
			e.burn = nil
		} else if e.burn == nil || before.Window != o.Window || before.Total != o.Total {
			e.burn = newBurn(o.Window.D())
		}
		e.objective, e.expected = &o, true
		// A new severity is told with the next sample, as a change.
		e.sig.Code, e.sig.Threshold, e.sig.Unit = o.Code, o.Threshold, o.Unit

		line := a.line(o.Service, o.Metric)
		if !slices.Contains(line.objectives, e) {
			line.objectives = append(line.objectives, e)
		}
		if o.Aggregation != aggregateBurn { // which counts without points
			line.retain = max(line.retain, o.Window.D())
		} else if o.Total != "" {
			total := a.line(o.Service, o.Total)
			total.totals = append(total.totals, e)
		}
	}
}

// line finds or makes the series of a metric that an objective asks for.
func (a *Agent) line(service grace.ServiceID, metric string) *series {
	id := seriesID{service, metric}
	s := a.series[id]
	if s == nil {
		s = &series{retain: a.cfg.Retain.D()}
		a.series[id] = s
	}
	return s
}

// sweep forgets alerts that are long resolved, probes and alerts that nobody
// configured and whose data stopped long ago (given as ok, so that nothing
// waits for them), and points without a reader.
func (a *Agent) sweep(now time.Time) []grace.Signal {
	var gone []grace.Signal
	for _, e := range a.entries {
		if e.expected {
			continue
		}
		silence := e.silence(now)
		switch {
		case e.kind == kindAlert && e.sig.State == grace.SignalOK && silence > a.cfg.Retain.D():
			a.forget(e, "resolved")
		case e.stale && silence > e.patience(&a.cfg)+a.cfg.AlertStaleAfter.D():
			gone = append(gone, a.forget(e, "forgotten, its data stopped at "+e.sig.At.UTC().Format(time.RFC3339)))
		}
	}
	for id, line := range a.series {
		if len(line.objectives)+len(line.totals) > 0 || now.Sub(line.newest()) <= line.retain || hasProbe(line) {
			continue
		}
		a.feeds -= len(line.feeds)
		delete(a.series, id)
	}
	return gone
}

func hasProbe(line *series) bool {
	return slices.ContainsFunc(line.feeds, func(f *feed) bool { return f.probe != nil })
}

// forget drops an entry and gives its last signal, as ok.
func (a *Agent) forget(e *entry, why string) grace.Signal {
	delete(a.entries, e.sig.Key)
	if line := a.series[seriesID{e.sig.Service, e.sig.Metric}]; line != nil {
		if f := line.feed(e.sig.Sensor); f != nil && f.probe == e {
			f.probe = nil
		}
	}
	s := e.sig
	s.State, s.Flapping = grace.SignalOK, false
	s.Message = e.sig.Metric + ": " + why
	return s
}
