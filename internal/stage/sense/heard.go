package sense

import (
	"slices"
	"time"

	"grace"
)

// askEvery is how soon a replica asks again for what others see of a signal.
const askEvery = 20 * time.Second

// Heard takes what another replica has published of a signal. Replicas that are
// sent different samples see different things: where newer data here says
// otherwise it is published, which Heard gives, now and with every later sample
// until they agree. A signal that only the other one knew, or that it alone has
// been sent since the start, is kept as its sender kept it, so that it goes stale
// although that replica is gone.
func (a *Agent) Heard(s grace.Signal) []grace.Signal {
	e := a.entries[s.Key]
	if e == nil {
		a.adopt(s)
		return nil
	}
	confirms := e.unconfirmed && s.At.After(e.since) && !s.Gone && !s.Unconfirmed
	newer := s.At.After(e.sig.At)
	switch {
	case !e.expected && (e.adopted && !s.At.Before(e.sig.At) || newer && (e.stale || e.restored && confirms)):
		a.follow(e, s, confirms)
		return nil
	case confirms: // whichever replica saw it, it was after the start
		e.unconfirmed, e.sig.Unconfirmed = false, false
	}
	if s.Gone {
		return e.remind(&a.cfg, s)
	}
	if e.stale && !newer {
		return nil
	}
	e.adoptPublished(s)
	e.lostElsewhere()
	fails := s.SeenFailing()
	if fails {
		e.failedAt = s.At
	}
	switch {
	case s.State == grace.SignalOK || s.Passing && !fails:
		e.passedAt = s.At
	case s.State == grace.SignalFiring && !s.Passing:
		e.passedAt = time.Time{}
	}
	return e.contradict(&a.cfg, nil)
}

// lostElsewhere takes over what another replica saw fire, later than what this one has
// seen, when neither sees anything any more: it was firing when it was last seen.
func (e *entry) lostElsewhere() {
	h := e.heard
	if e.stale && h != nil && h.State == grace.SignalStale && !h.FailingSince.IsZero() && h.At.After(e.sig.At) {
		e.held, e.firingSince, e.breachSince = grace.SignalFiring, h.FailingSince, h.FailingSince
		e.sig.At, e.sig.Fired = h.At, h.Fired
	}
}

// Echoed takes what this replica has published itself, at its place among the words
// of all: of a dispute the last word is what the others know.
func (a *Agent) Echoed(s grace.Signal) {
	switch e := a.entries[s.Key]; {
	case e == nil || e.stale && !s.At.After(e.sig.At):
	case e.expected && disputed(s):
		e.adoptPublished(s)
	case e.heard != nil && !s.At.Before(e.heard.At):
		e.heard = nil
	}
}

// adoptPublished keeps what was published last, unless it answers less than is known here.
func (e *entry) adoptPublished(s grace.Signal) {
	if disputed(s) && e.heard != nil && disputed(*e.heard) && s.Fired.Before(e.heard.Fired) {
		return
	}
	e.heard = &s
}

// disputed tells whether a signal fires where one replica sees it, and passes where
// another or the newest sample does.
func disputed(s grace.Signal) bool { return s.State == grace.SignalFiring && s.Passing }

// follow takes another replica's word on a signal of which there is no data
// here. What it says is over is kept there alone.
func (a *Agent) follow(e *entry, s grace.Signal, confirms bool) {
	if s.Gone || s.State == grace.SignalOK {
		delete(a.entries, s.Key)
		return
	}
	confirms = confirms || !e.unconfirmed
	if e.adopted {
		e.space(s.At)
	}
	e.adopted = true
	a.takeWord(e, s, confirms)
}

// remind gives what is seen here of a signal that another replica has forgotten,
// because nobody sends it there any more.
func (e *entry) remind(cfg *Config, gone grace.Signal) []grace.Signal {
	if e.stale || e.adopted || e.restored || e.held == grace.SignalUnknown || !e.judged.After(gone.At) {
		return nil
	}
	e.heard = nil
	return []grace.Signal{e.signal(cfg)}
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
	e.since = a.since
	a.takeWord(e, s, s.At.After(a.since))
}

// takeWord gives an adopted entry the state that another replica has published.
// When it is over is that one's to say: it hears the repeats.
func (a *Agent) takeWord(e *entry, s grace.Signal, confirmed bool) {
	e.sig = s
	e.held = grace.SignalUnknown
	e.takeOver(s)
	e.restored, e.unconfirmed, e.sig.Unconfirmed = false, !confirmed, !confirmed
}

// between tells whether a probe or objective passed here since the failures began
// that another replica speaks of.
func (e *entry) between(s *grace.Signal) bool {
	return e.expected && e.passing && !e.stale && !s.FailingSince.IsZero() && e.judged.After(s.FailingSince)
}

// contradict adds what is to be published where the newest verdict here is newer
// than what was heard, and another.
func (e *entry) contradict(cfg *Config, changed []grace.Signal) []grace.Signal {
	if e.heard == nil || e.stale || e.held == grace.SignalUnknown {
		return changed
	}
	heard := *e.heard
	theirs := heard.State == grace.SignalFiring && !heard.Passing
	between := theirs && e.between(&heard)
	switch {
	case !between && e.judged.Before(heard.At), e.judged.Equal(heard.At) && heard.State != grace.SignalUnknown:
		return changed
	case theirs && e.passing && e.kind != kindAlert:
		// It fires as the other has seen it, though it has passed since, or between
		// two of the failures: then that is said later than what it answers.
		heard.Passing, heard.Unconfirmed = true, e.unconfirmed
		if heard.At = heard.At.Add(time.Millisecond); e.judged.After(heard.At) {
			heard.At = e.judged
		}
		e.heard = &heard
		return append(changed, heard)
	case heard.State == grace.SignalOK && e.disputes(cfg): // it would be taken for over
		word := e.argued(cfg)
		e.heard = &word
		return append(changed, word)
	case theirs && e.passing, blind(heard), !theirs && !e.passing && e.held == grace.SignalFiring && !e.disputes(cfg):
		e.heard = nil
		return append(changed, e.signal(cfg))
	}
	return changed
}

// blind tells whether a replica says that it sees nothing of a signal.
func blind(s grace.Signal) bool {
	return s.State == grace.SignalStale || s.State == grace.SignalUnknown
}

// answer adds what a sample that changed nothing makes known: that another
// replica is wrong, or what one has asked for.
func (e *entry) answer(cfg *Config, changed []grace.Signal) []grace.Signal {
	known := len(changed)
	e.argue(cfg)
	changed = e.contradict(cfg, changed)
	judged := e.held != grace.SignalUnknown && !e.stale && !e.unconfirmed && e.judged.Equal(e.sig.At)
	undecided := !e.passing && e.held != grace.SignalFiring // it failed, not for long enough to say so
	late := e.heard != nil && e.judged.Before(e.heard.At)
	if !e.asked || !judged || undecided || late && !e.disputed() && !e.disputes(cfg) { // who disputes is asked again, and its clock may be behind
		return changed
	}
	e.asked = false
	switch {
	case len(changed) > known:
	case e.disputes(cfg):
		changed = append(changed, e.argued(cfg))
	case e.heard != nil: // it says the same, later
		word := *e.heard
		if word.At = word.At.Add(time.Millisecond); !late {
			word.At = e.judged
		}
		word.Passing, word.Expires = e.passing && word.State == grace.SignalFiring, e.sig.Expires
		word.Unconfirmed = e.unconfirmed
		e.heard = &word
		changed = append(changed, word)
	default:
		changed = append(changed, e.signal(cfg))
	}
	return changed
}

// Asked marks the signals of which another replica needs to know what is seen
// here. The next sample of each is published, also where it changes nothing: it
// came after the question, whatever the clocks say.
func (a *Agent) Asked(keys []grace.SignalKey) {
	for _, k := range keys {
		if e := a.entries[k]; e != nil {
			e.asked = true
		}
	}
}

// Ask gives the signals, sorted, of which this replica needs to hear what others
// see: what no sample here has shown since the start or the last change of the
// configuration, and what only others see. It asks again, ever more rarely.
func (a *Agent) Ask(now time.Time) []grace.SignalKey {
	var keys []grace.SignalKey
	for k, e := range a.entries {
		if e.asks(&a.cfg, now) {
			e.askedAt = now
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	return keys
}

// asks tells whether others are to be asked now.
func (e *entry) asks(cfg *Config, now time.Time) bool {
	doubted, first := e.sig.At, askEvery
	switch {
	case e.held == grace.SignalOK && e.kind == kindAlert:
		return false // nobody repeats that all is well
	case e.held != grace.SignalUnknown && e.unconfirmed:
		if doubted = e.since; e.held != grace.SignalOK { // that, most are shown here in a moment
			first = 0
		}
	case e.seenElsewhere():
		doubted, first = e.heard.At, e.staleTimeout(cfg)/2
	case e.disputes(cfg):
		doubted = e.passedAt
	case e.disputed():
		doubted = e.failedAt
	case !e.adopted:
		return false
	case e.kind == kindAlert && e.sig.Expires.IsZero(): // it is repeated rarely
		first = e.staleTimeout(cfg) / 4
	case e.kind == kindAlert:
		first = e.sig.Expires.Sub(doubted) / 2
	}
	silent := max(0, now.Sub(doubted)) // the clock may have been set back
	again := e.askedAt.IsZero() || e.askedAt.After(now) || now.Sub(e.askedAt) >= max(askEvery, silent/4)
	return silent >= first && again
}

// seenElsewhere tells whether another replica has data of what this one does not
// see any more.
func (e *entry) seenElsewhere() bool {
	return e.stale && e.heard != nil && !blind(*e.heard)
}

// unseen takes back another replica's word on what this one does not see, when
// none has been heard for too long: nobody sees it any more. It gives whether it
// did.
func (e *entry) unseen(cfg *Config, now time.Time) bool {
	if !e.seenElsewhere() || now.Sub(e.heard.At) <= e.staleTimeout(cfg) {
		return false
	}
	e.sig.At, e.sig.Fired, e.sig.Since = e.heard.At, e.heard.Fired, now
	e.held = grace.SignalOK
	if e.heard.State == grace.SignalFiring {
		e.held, e.firingSince = grace.SignalFiring, e.heard.Since
	}
	e.heard = nil
	return true
}

// PassedSince tells whether the newest verdict here says that nothing is wrong, and
// is later than the newest sample behind a signal, or came between its failures.
func (a *Agent) PassedSince(s grace.Signal) bool {
	e := a.entries[s.Key]
	return e != nil && e.passing && (e.judged.After(s.At) || e.between(&s))
}
