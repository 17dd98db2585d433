package sense

import (
	"time"

	"grace"
)

// Heard takes what another replica has published of a signal. Replicas that are
// sent different samples see different things: where newer data here says
// otherwise it is published, which Heard gives, now and with every later sample
// until they agree. A signal that only the other one knew is kept as its sender
// kept it, so that it goes stale although that replica is gone.
func (a *Agent) Heard(s grace.Signal) []grace.Signal {
	e := a.entries[s.Key]
	switch {
	case e == nil:
		a.adopt(s)
		return nil
	case e.adopted && s.Gone:
		delete(a.entries, s.Key)
		return nil
	case e.adopted && !s.At.Before(e.sig.At):
		a.takeWord(e, s)
		return nil
	case s.Gone, s.At.Equal(e.sig.At) && s.State == e.sig.State && s.Passing == e.sig.Passing: // its own word
		return nil
	}
	e.heard = &s
	return e.answer(&a.cfg, nil)
}

// adopt keeps a signal that is sent to another replica. What is configured is
// looked at here too.
func (a *Agent) adopt(s grace.Signal) {
	if s.Gone || s.Configured || s.State == grace.SignalOK || s.State == grace.SignalUnknown || len(a.entries) >= a.cfg.MaxSeries {
		return
	}
	e := &entry{kind: kindProbe, adopted: true}
	if s.Kind == grace.SignalAlert {
		e.kind = kindAlert
	}
	a.entries[s.Key] = e
	a.takeWord(e, s)
}

// takeWord gives an adopted entry the state that another replica has published.
// When it is over is that one's to say: it hears the repeats.
func (a *Agent) takeWord(e *entry, s grace.Signal) {
	e.sig = s
	e.takeOver(s)
	e.restored, e.unconfirmed, e.sig.Unconfirmed = false, false, false
	e.sig.Expires = time.Time{}
}

// answer adds what is to be published where the newest verdict here is newer
// than what was heard, and another.
func (e *entry) answer(cfg *Config, changed []grace.Signal) []grace.Signal {
	if e.heard == nil || e.stale || e.held == grace.SignalUnknown || e.judged.Before(e.heard.At) {
		return changed
	}
	heard := *e.heard
	theirs := heard.State == grace.SignalFiring && !heard.Passing
	blind := heard.State == grace.SignalStale || heard.State == grace.SignalUnknown
	switch {
	case e.judged.Equal(heard.At) && heard.State != grace.SignalUnknown:
		return changed
	case theirs && e.passing && e.kind != kindAlert:
		// It fires as the other has seen it, though it has passed since.
		heard.Passing, heard.At = true, e.judged
		e.heard = &heard
		return append(changed, heard)
	case theirs && e.passing, blind, !theirs && !e.passing && e.held == grace.SignalFiring:
		e.heard = nil
		return append(changed, e.signal(cfg))
	}
	return changed
}

// PassedSince tells whether the newest verdict on a signal is later than a time
// and says that nothing is wrong.
func (a *Agent) PassedSince(key grace.SignalKey, at time.Time) bool {
	e := a.entries[key]
	return e != nil && e.passing && e.judged.After(at)
}
