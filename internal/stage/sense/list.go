package sense

import (
	"slices"
	"time"

	"grace"
)

// list is what is known of the list of alerts that a sensor reads.
type list struct {
	read  time.Time     // the newest reading; before the first one, since when it fails
	ever  bool          // it was read
	lasts time.Duration // how long a reading shows something, as the sensor says
	fault string        // why it could not be read the last time
	tried time.Time     // when that was
}

// observeList takes that a list was read, after the alerts that it holds. Of those
// that it held once, and holds no more, it shows that they are over still: nobody
// repeats that.
func (a *Agent) observeList(s *grace.Sample) []grace.Signal {
	l := a.listOf(s.Sensor)
	if l.ever && s.At.Before(l.read) {
		return nil
	}
	l.read, l.ever, l.fault = s.At, true, ""
	if l.lasts = 0; s.Expires.After(s.At) {
		l.lasts = s.Expires.Sub(s.At)
	}
	var changed []grace.Signal
	for _, e := range a.entries {
		switch {
		case e.kind != kindAlert || e.sig.Sensor != s.Sensor:
		case e.sig.Listed:
			changed = e.stillOver(&a.cfg, l, s.At, changed)
		default: // it came from elsewhere by the same webhook
			changed = e.ownWord(&a.cfg, s.At, changed)
		}
	}
	slices.SortFunc(changed, compareKeys)
	return changed
}

// ownWord takes an alert's webhook for its sender's own word, because no list that was
// read since says more.
func (e *entry) ownWord(cfg *Config, read time.Time, changed []grace.Signal) []grace.Signal {
	at := e.unlisted
	if at.IsZero() || read.Before(at) || e.held != grace.SignalFiring {
		return changed
	}
	e.unlisted = time.Time{}
	e.confirm(at)
	if e.settle(cfg, e.sig.Severity, at) {
		return append(changed, e.signal(cfg))
	}
	return changed
}

// failList notes that a list could not be read: what webhooks say is all there is.
func (a *Agent) failList(s *grace.Sample) (changed []grace.Signal) {
	l := a.listOf(s.Sensor)
	if l.read.IsZero() {
		l.read = s.At
	}
	l.fault, l.tried = s.Message, s.At
	for _, e := range a.entries {
		if e.kind == kindAlert && e.sig.Sensor == s.Sensor {
			changed = e.ownWord(&a.cfg, s.At, changed)
		}
	}
	return changed
}

func (a *Agent) listOf(sensor string) *list {
	l := a.lists[sensor]
	if l == nil {
		l = &list{}
		a.lists[sensor] = l
	}
	return l
}

// ForgetLists tells that lists of alerts are read in another way, or not any more:
// who reads one says so again.
func (a *Agent) ForgetLists() { clear(a.lists) }

// stillOver takes it for shown at a time that an alert is over. That another
// replica sees it fire stands: it may know better.
func (e *entry) stillOver(cfg *Config, l *list, at time.Time, changed []grace.Signal) []grace.Signal {
	fires := e.heard != nil && e.heard.State == grace.SignalFiring
	if e.held != grace.SignalOK || fires || at.Before(e.sig.At) {
		return changed
	}
	if e.stale || e.over.IsZero() {
		e.over = at
	}
	e.list, e.stale, e.fault, e.restored, e.adopted = l, false, "", false, false
	e.sig.At, e.judged, e.passing = at, at, true
	e.confirm(at)
	if e.settle(cfg, e.sig.Severity, at) {
		return append(changed, e.signal(cfg))
	}
	return e.answer(cfg, changed)
}

// wearOver makes an alert that is over stale while the list that would show it
// cannot be read, and ok again with the next reading. Without a list nothing does:
// whoever sends alerts does not repeat that they are over.
func (e *entry) wearOver(cfg *Config, now time.Time) {
	l := e.list
	if l == nil {
		return
	}
	lasts := e.staleTimeout(cfg)
	switch readable := now.Sub(l.read) <= lasts; {
	case !readable && !e.stale && e.silence(now) > lasts:
		e.stale, e.fault = true, l.fault
		e.lostElsewhere()
	case readable && l.ever && e.stale && !e.seenElsewhere():
		e.stale, e.fault = false, ""
	}
}

// unread tells whether it is an alert that is over, as far as is known, while its list
// is asked for in vain: nothing is forgotten that may have come back.
func (e *entry) unread(cfg *Config, now time.Time) bool {
	return e.kind == kindAlert && e.held == grace.SignalOK && e.list != nil && now.Sub(e.list.tried) <= e.staleTimeout(cfg)
}

// overLong tells whether an alert is over for so long that it is forgotten. While
// its list cannot be read it is not: it may have come back.
func (e *entry) overLong(cfg *Config, now time.Time) bool {
	switch {
	case e.kind != kindAlert || e.held != grace.SignalOK, e.stale && e.list != nil, e.flapping:
		return false
	case e.list != nil && e.sig.Listed && !e.over.IsZero(): // each reading is data
		return now.Sub(e.over) > cfg.Retain.D()
	}
	return e.silence(now) > cfg.Retain.D()
}
