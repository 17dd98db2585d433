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
		e := a.restored(s)
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
			e.sig.Kind, e.sig.Configured, e.sig.Sensor = now.Kind, now.Configured, now.Sensor
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

// restored finds the entry of a signal from before: of an objective that names services
// by a label it is made anew.
func (a *Agent) restored(s grace.Signal) *entry {
	if e := a.entries[s.Key]; e != nil {
		return e
	}
	for _, o := range a.objectives {
		if o.Service == "" && objectiveKey(&o.Objective, s.Service) == s.Key {
			return a.entryOf(o, s.Service)
		}
	}
	return nil
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

func notBefore(t, now time.Time) time.Time {
	if t.Before(now) {
		return now
	}
	return t
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
		for _, t := range []*time.Time{&e.sig.At, &e.sig.Since, &e.sig.Fired, &e.sig.Repeated, &e.unlisted, &e.firingSince, &e.breachSince, &e.since, &e.judged, &e.shown, &e.lastFail, &e.lastPass, &e.spaced} {
			clamp(t)
		}
		switch until := e.sig.Expires; { // its source has its time to say it by the new clock
		case step < 0 && until.After(now):
			e.sig.Expires = notAfter(until, notBefore(until.Add(step), now.Add(heardAgain)))
		case step > 0 && until.After(now.Add(-step)):
			e.sig.Expires = notBefore(until, now.Add(heardAgain))
		}
		for _, f := range e.failing {
			clamp(&f.since)
			clamp(&f.newest)
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
			clamp(&heard.Since)
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
	for _, from := range a.measures {
		for sensor, last := range from {
			clamp(&last)
			from[sensor] = last
		}
	}
	for _, l := range a.lists {
		l.read, l.tried = l.read.Add(max(0, step)), l.tried.Add(max(0, step))
		clamp(&l.read)
		clamp(&l.tried)
	}
	clamp(&a.swept)
	clamp(&a.ticked)
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
// objective of the same service and name keeps its state and is judged by its new terms
// from the next sample on. It gives the signals of objectives that are gone, sorted by
// key; they are not known any more.
func (a *Agent) Reconfigure(cfg Config, objectives []Objective) []grace.Signal {
	a.cfg = cfg
	a.setObjectives(objectives)
	var gone []grace.Signal
	for _, e := range a.entries {
		if o := e.objective; o != nil && a.objectives[o.ID()] != o {
			gone = append(gone, a.forget(e, "objective removed"))
		}
	}
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

// setObjectives compiles objectives, and gives them the signals that they had before.
func (a *Agent) setObjectives(list []Objective) {
	before := a.objectives
	a.objectives = make(map[string]*objective, len(list))
	for _, one := range list {
		o := compile(one)
		a.objectives[o.ID()] = o
		if o.Service != "" { // known before anything is measured
			a.entryOf(o, o.Service)
		}
		if was := before[o.ID()]; was != nil {
			for service, e := range was.entries {
				if was.Expr != o.Expr || was.Source != o.Source {
					e.failing = map[uint64]*failing{0: {newest: e.sig.At, labels: e.about(service)}} // until all is measured anew
				}
				a.entryOf(o, service)
			}
		}
	}
}

// sweep forgets alerts that are long resolved, probes and alerts that nobody
// configured and whose data stopped long ago (given as gone, so that nothing
// waits for them), what only an earlier process could not evaluate, and points without a reader.
func (a *Agent) sweep(now time.Time) []grace.Signal {
	var gone []grace.Signal
	for _, e := range a.entries {
		if e.expected && (e.kind != kindObjective || e.objective.Service != "") {
			continue
		}
		silence := e.silence(now)
		switch {
		case e.heard != nil && e.heard.At.After(e.sig.At) && silence > a.cfg.Retain.D():
			a.follow(e, *e.heard, false) // it is sent to another replica now
		case e.restored && e.stale && e.sig.Service == grace.CoreService && e.sig.Fired.IsZero() && now.Sub(a.since) > e.staleTimeout(&a.cfg):
			gone = append(gone, a.forget(e, "it could not be evaluated before the start, and nothing says so any more"))
		case e.overLong(&a.cfg, now):
			gone = append(gone, a.forget(e, "resolved"))
		case e.stale && !e.unread(&a.cfg, now) && silence > e.staleTimeout(&a.cfg)+a.cfg.AlertStaleAfter.D():
			s := a.forget(e, "forgotten, its data stopped at "+e.sig.At.UTC().Format(time.RFC3339))
			s.Lost = e.held == grace.SignalFiring
			gone = append(gone, s)
		}
	}
	a.sweepSources(now)
	return gone
}

// Forget drops the signal of a key, for a person who knows that it means
// nothing any more. One that is configured begins anew, without data.
func (a *Agent) Forget(key grace.SignalKey) (gone grace.Signal, found bool) {
	e := a.entries[key]
	if e == nil {
		return gone, false
	}
	gone = a.forget(e, "forgotten on request")
	if !e.expected {
		return gone, true
	}
	again := &entry{kind: e.kind, expected: true, interval: e.interval, sig: grace.Signal{
		Key: key, Service: e.sig.Service, Sensor: e.sig.Sensor, Metric: e.sig.Metric, Code: e.sig.Code, Severity: e.sig.Severity,
		Unit: e.sig.Unit, Kind: e.sig.Kind, Configured: true,
	}}
	a.add(again)
	if o := e.objective; o != nil {
		again = a.entryOf(o, e.sig.Service)
	}
	return again.signal(&a.cfg), true
}

// forget drops an entry and gives its last signal, as gone.
func (a *Agent) forget(e *entry, why string) grace.Signal {
	delete(a.entries, e.sig.Key)
	if o := e.objective; o != nil {
		delete(o.entries, e.sig.Service)
	}
	return removed(e.sig, why)
}

// removed gives the last word on a signal.
func removed(s grace.Signal, why string) grace.Signal {
	s.State, s.Flapping, s.Passing, s.Unconfirmed, s.Gone = grace.SignalUnknown, false, false, false, true
	s.Message = s.Metric + ": " + why
	return s
}
