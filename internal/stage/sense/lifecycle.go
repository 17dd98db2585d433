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
// without data. All of them are unconfirmed until a sample comes that is newer
// than now: what was true then need not be true now. So is all that has no data
// yet: its first sample may be from before. It is called after Expect, and gives the signals
// that are gone because their sensor or objective is not configured any more,
// sorted by key. A signal that has data already is passed over.
func (a *Agent) Restore(signals []grace.Signal, now time.Time) []grace.Signal {
	a.since = now
	for _, e := range a.entries {
		if e.sig.At.IsZero() {
			e.unconfirm(now)
		}
	}
	var gone []grace.Signal
	for _, s := range signals {
		e := a.entries[s.Key]
		switch {
		case e == nil && s.Configured:
			gone = append(gone, removed(s, "not configured any more"))
			continue
		case e == nil && len(a.entries) >= a.cfg.MaxSeries:
			continue
		case e == nil:
			e = &entry{sig: s, kind: kindProbe}
			if s.Kind == grace.SignalAlert {
				e.kind = kindAlert
			}
			a.entries[s.Key] = e
		case !e.sig.At.IsZero():
			continue
		default:
			// What the configuration says now stays.
			now := e.sig
			e.sig = s
			e.sig.Code, e.sig.Severity, e.sig.Threshold, e.sig.Unit = now.Code, now.Severity, now.Threshold, now.Unit
			e.sig.Kind, e.sig.Configured = now.Kind, now.Configured
		}
		e.takeOver(s)
		if !s.Expires.IsZero() && s.Expires.Before(now) { // what repeats it has not been heard yet
			e.sig.Expires = now.Add(heardAgain)
		}
		e.unconfirm(now)
	}
	slices.SortFunc(gone, compareKeys)
	return gone
}

// heardAgain is how soon after a start an alert is repeated, or read again, that would
// have been by now: Prometheus sends again once a minute.
const heardAgain = time.Minute

// takeOver gives an entry the state of an earlier process.
func (e *entry) takeOver(s grace.Signal) {
	e.restored = true
	e.note = restoredNote(s)
	if !e.expected {
		e.interval = s.Interval.D()
	}
	e.stale = s.State == grace.SignalStale
	e.flapping = s.Flapping
	if e.passing = s.Passing; s.Passing && !s.FailingSince.IsZero() {
		e.passedAt = s.At // replicas saw different things
	}
	switch s.State {
	case grace.SignalFiring, grace.SignalOK:
		e.held = s.State
	case grace.SignalUnstable:
		e.held = grace.SignalOK
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
		since := s.Since
		if e.stale && !s.FailingSince.IsZero() {
			since = s.FailingSince
		}
		e.firingSince, e.breachSince = since, since
	}
}

// Woke tells that this process stood still for a while: as after a start, all signals
// are unconfirmed until a sample comes that is newer than now. The while does not count
// as time without data; what was before does.
func (a *Agent) Woke(now time.Time, stood time.Duration) {
	a.Unconfirm(func(grace.Signal, []string) bool { return true }, now)
	for _, e := range a.entries {
		if !e.restored || !e.trusted.IsZero() {
			e.trusted = now.Add(-max(0, e.silence(now.Add(-stood))))
		}
		if !e.over.IsZero() {
			e.over = notAfter(e.over.Add(stood), now)
		}
	}
	for _, l := range a.lists {
		l.read = notAfter(l.read.Add(stood), now) // it may have been read since
		l.tried = notAfter(l.tried.Add(stood), now)
	}
}

func notAfter(t, now time.Time) time.Time {
	if t.After(now) {
		return now
	}
	return t
}

// ClockStepped tells that the wall clock was set. Set back, what is known goes
// back with it: new samples are not late for as long as the clock had been ahead,
// and what lasts has lasted as long as before. The step does not count as time
// without data; what was before does. It gives the signals that are dated anew and not ok, sorted by
// key.
func (a *Agent) ClockStepped(now time.Time, step time.Duration) []grace.Signal {
	clamp := func(t *time.Time) {
		if step < 0 && !t.IsZero() {
			*t = t.Add(step)
		}
		if t.After(now) {
			*t = now
		}
	}
	var changed []grace.Signal
	for _, e := range a.entries {
		silent := max(0, e.silence(now.Add(-step)))
		for _, t := range []*time.Time{&e.failedAt, &e.passedAt, &e.arguing, &e.over} {
			if step > 0 && !t.IsZero() { // how long ago it was stays the same
				*t = t.Add(step)
			}
			clamp(t)
		}
		for _, t := range []*time.Time{&e.sig.At, &e.sig.Since, &e.sig.Fired, &e.sig.Repeated, &e.unlisted, &e.firingSince, &e.breachSince, &e.since, &e.judged} {
			clamp(t)
		}
		for i := range e.transitions {
			clamp(&e.transitions[i])
		}
		if !e.restored || !e.trusted.IsZero() {
			e.trusted = now.Add(-silent)
		}
		if e.heard != nil {
			heard := *e.heard
			clamp(&heard.At)
			clamp(&heard.FailingSince)
			if step > 0 && e.stale { // nothing is seen here, and that one sees it still
				heard.At = heard.At.Add(step)
			}
			e.heard = &heard
		}
		if step < 0 && e.sig.State != grace.SignalOK && e.sig.State != grace.SignalUnknown {
			changed = append(changed, e.signal(&a.cfg))
		}
	}
	for _, line := range a.series {
		for _, f := range line.feeds {
			f.cut(now)
		}
	}
	for _, l := range a.lists {
		l.read, l.tried = l.read.Add(max(0, step)), l.tried.Add(max(0, step))
		clamp(&l.read)
		clamp(&l.tried)
	}
	clamp(&a.swept)
	clamp(&a.since)
	slices.SortFunc(changed, compareKeys)
	return changed
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
// that are gone, sorted by key; they are not known any more.
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
// any more are given as gone, sorted by key, and forgotten.
func (a *Agent) Expect(probes []Probe) []grace.Signal {
	kept := make(map[grace.SignalKey]bool, len(probes))
	for _, p := range probes {
		e := a.probe(p)
		e.expected, e.sig.Configured, e.interval = true, true, p.Interval
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
				Key: key, Service: o.Service, Metric: o.Metric, Severity: o.Severity, Kind: grace.SignalObjective, Configured: true,
			}}
			a.add(e)
		}
		if before := e.objective; o.Aggregation != aggregateBurn {
			e.burn = nil
		} else if e.burn == nil || before.Window != o.Window || before.Total != o.Total {
			e.burn = newBurn(o.Window.D())
		}
		e.objective, e.expected, e.interval = &o, true, o.Interval
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
// configured and whose data stopped long ago (given as gone, so that nothing
// waits for them), and points without a reader.
func (a *Agent) sweep(now time.Time) []grace.Signal {
	var gone []grace.Signal
	for _, e := range a.entries {
		if e.expected {
			continue
		}
		silence := e.silence(now)
		switch {
		case e.heard != nil && e.heard.At.After(e.sig.At) && silence > a.cfg.Retain.D():
			a.follow(e, *e.heard, false) // it is sent to another replica now
		case e.overLong(&a.cfg, now):
			gone = append(gone, a.forget(e, "resolved"))
		case e.stale && !e.unread(&a.cfg, now) && silence > e.staleTimeout(&a.cfg)+a.cfg.AlertStaleAfter.D():
			s := a.forget(e, "forgotten, its data stopped at "+e.sig.At.UTC().Format(time.RFC3339))
			s.Lost = e.held == grace.SignalFiring
			gone = append(gone, s)
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

// Forget drops the signal of a key, for a person who knows that it means
// nothing any more. One that is configured begins anew, without data.
func (a *Agent) Forget(key grace.SignalKey) (gone grace.Signal, found bool) {
	e := a.entries[key]
	if e == nil {
		return gone, false
	}
	gone = a.forget(e, "forgotten on request")
	if e.expected {
		again := &entry{kind: e.kind, objective: e.objective, expected: true, sig: grace.Signal{
			Key: key, Service: e.sig.Service, Sensor: e.sig.Sensor, Metric: e.sig.Metric, Code: e.sig.Code, Severity: e.sig.Severity,
			Threshold: e.sig.Threshold, Unit: e.sig.Unit, Kind: e.sig.Kind, Configured: true,
		}}
		if e.burn != nil {
			again.burn = newBurn(e.objective.Window.D())
		}
		a.add(again)
		for _, line := range a.series {
			replaceEntry(line.objectives, e, again)
			replaceEntry(line.totals, e, again)
		}
		return again.signal(&a.cfg), true
	}
	return gone, true
}

func replaceEntry(list []*entry, old, now *entry) {
	if i := slices.Index(list, old); i >= 0 {
		list[i] = now
	}
}

// forget drops an entry and gives its last signal, as gone.
func (a *Agent) forget(e *entry, why string) grace.Signal {
	delete(a.entries, e.sig.Key)
	if line := a.series[seriesID{e.sig.Service, e.sig.Metric}]; line != nil {
		if f := line.feed(e.sig.Sensor); f != nil && f.probe == e {
			f.probe = nil
		}
	}
	return removed(e.sig, why)
}

// removed gives the last word on a signal.
func removed(s grace.Signal, why string) grace.Signal {
	s.State, s.Flapping, s.Passing, s.Unconfirmed, s.Gone = grace.SignalUnknown, false, false, false, true
	s.Message = s.Metric + ": " + why
	return s
}
