package sense

import (
	"maps"
	"slices"
	"time"

	"grace"
	"grace/internal/series"
)

type entryKind int

const (
	kindProbe entryKind = iota
	kindObjective
	kindAlert
)

// entry is one signal with what is needed to judge it. The judged state (held)
// and the shown one (sig.State) differ while the signal is stale or flapping.
type entry struct {
	sig  grace.Signal // as last published, but Value, Labels, At and Fired as of the newest sample
	kind entryKind
	// objective is nil but for kindObjective.
	objective *objective
	failing   map[uint64]*failing // its elements that fail, by their labels
	total     int                 // elements when it was judged last, and how many of them failed
	failed    int
	sensors   []string          // whose series they were made of
	reported  map[string]string // the labels of the one that was reported last
	lastFail  time.Time         // when it failed last
	lastPass  time.Time         // when it passed last
	// expected: a configured probe or objective, so it is never forgotten.
	expected bool

	// unconfirmed: no sample was judged that is newer than the restart or the
	// change of the configuration, which was at since.
	unconfirmed bool
	since       time.Time
	passing     bool              // the newest verdict
	pended      bool              // published as pending
	judged      time.Time         // when it was given
	shown       time.Time         // when the sample was measured that shows it
	heard       *grace.Signal     // what another replica has published since this one did
	passedAt    time.Time         // when another replica saw it pass last, since its state changed here
	failedAt    time.Time         // when another replica saw it fail last
	arguing     time.Time         // since when it fails here and passes there
	adopted     bool              // only another replica has data of it
	asked       bool              // another replica asks what is seen here
	askedAt     time.Time         // when others were asked last
	held        grace.SignalState // unknown, ok or firing
	firingSince time.Time
	stale       bool
	flapping    bool
	fails       int
	passes      int
	breachSince time.Time   // the first of the current fails
	transitions []time.Time // the newest changes, oldest first
	gaps        [2]time.Duration
	lag         time.Duration // how old is what comes, where that is too old
	spaced      time.Time     // the newest time that gaps are of
	interval    time.Duration // as configured, or as another process has it: the gaps are not known at first
	// trusted is set by the first Tick after Restore: the time of a restart
	// does not count as time without data.
	restored bool
	trusted  time.Time
	note     string    // what the newest sample's source says
	fault    string    // why the sensor could not look; empty when it could
	lack     string    // what was not measured that it was made of when it failed; empty when all was
	list     *list     // of an alert: what its sensor reads, as of the last Tick; nil when it reads none
	over     time.Time // of an alert: when it was said to be over
	// unmeasured is why an objective finds nothing.
	unmeasured series.Unmeasured
	unlisted   time.Time // of an alert: when it came by a webhook, until a list is read that should hold it
}

// arrive notes that data came. Verdicts are consecutive also over a sensor error,
// but not over a time without data that makes stale.
func (e *entry) arrive(cfg *Config, at time.Time, labels map[string]string) {
	silence := e.silence(at)
	e.space(at)
	if silence > e.staleTimeout(cfg) {
		e.fails, e.passes = 0, 0
	}
	e.sig.At = at
	if !maps.Equal(labels, e.sig.Labels) {
		e.sig.Labels = bounded(labels)
	}
	e.restored, e.adopted, e.fault, e.lack, e.lag, e.unmeasured = false, false, "", "", 0, series.Unmeasured{}
	if !e.stale {
		return
	}
	elsewhere := e.seenElsewhere() && e.heard.State == grace.SignalFiring
	e.stale = false
	if elsewhere {
		e.passes = 0 // they were before what the other has seen fail
	}
	switch {
	case elsewhere && e.held != grace.SignalFiring:
		// It began while this replica saw nothing, and goes on as the other has it.
		e.held, e.firingSince = grace.SignalFiring, e.heard.Since
		e.sig.Fired, e.breachSince = e.heard.Fired, e.heard.FailingSince
	case e.held == grace.SignalOK:
		// It was ok before nobody looked: that has to be shown again.
		e.held = grace.SignalUnknown
	}
}

// Bounds of the labels that a signal keeps.
const (
	maxLabels     = 64
	maxLabelBytes = 4096 // of names and values together
)

// bounded copies labels, by name as long as they fit: the map is its sender's,
// and one that was published is never changed.
func bounded(labels map[string]string) map[string]string {
	kept, size := map[string]string{}, 0
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		if grown := size + len(name) + len(labels[name]); len(kept) < maxLabels && grown <= maxLabelBytes {
			kept[name], size = labels[name], grown
		}
	}
	return kept
}

// space notes how far data is apart that is newer than the newest.
func (e *entry) space(at time.Time) {
	newest := notBefore(e.spaced, e.sig.At)
	if !at.After(newest) {
		return
	}
	if !newest.IsZero() {
		e.gaps[1], e.gaps[0] = e.gaps[0], at.Sub(newest)
	}
	e.spaced = at
}

// blind notes that the sensor could not look, and says whether that changed
// the published signal. The time of the newest sample stays what it is.
func (e *entry) blind(cfg *Config, s *grace.Sample) bool {
	if s.At.Before(e.sig.At) {
		return false
	}
	said := e.fault != s.Message
	e.fault, e.stale, e.restored = s.Message, true, false
	return e.settle(cfg, e.sig.Severity, s.At) || said
}

// late tells whether what was measured at a time shows no more of an entry whose data
// stopped than that it was measured then, and how rarely that comes: by now it would be
// stale again.
func (a *Agent) late(e *entry, at time.Time) bool {
	if !e.stale || a.ticked.Sub(at) <= e.staleTimeout(&a.cfg) {
		return false
	}
	e.space(at)
	return a.ticked.Sub(at) > e.staleTimeout(&a.cfg)
}

// expire makes an alert stale that its sender would have repeated by now. It
// would have said, too, that it is over: the sender is away. Of one that only
// another replica is sent, that one has been asked before, and had time to answer.
func (e *entry) expire(now time.Time) {
	until := e.sig.Expires
	if e.kind != kindAlert || e.held != grace.SignalFiring || until.IsZero() {
		return
	}
	if e.adopted {
		until = until.Add(2 * askEvery)
	}
	if now.After(until) {
		e.stale = true
	}
}

// unconfirm has a sample that is newer than since show what the entry says.
func (e *entry) unconfirm(since time.Time) {
	e.since = since
	e.unconfirmed, e.sig.Unconfirmed = true, true
}

// confirm notes that the newest data was judged: data alone, as the first point
// of a rate, says nothing. What is seen late is no evidence, also when another
// replica has seen it since.
func (e *entry) confirm(at time.Time) { e.unconfirmed = !at.After(e.since) }

// judge takes one verdict of a probe or objective, of a time, that was shown by what was
// measured then or before.
func (e *entry) judge(cfg *Config, bad bool, at, shown time.Time) {
	e.passing, e.judged, e.shown = !bad, at, shown
	if bad {
		e.passes, e.lastFail = 0, at
		e.fails++
		if e.fails == 1 && (e.held != grace.SignalFiring || e.breachSince.IsZero()) {
			e.breachSince = at
		}
		e.fireIfDue(cfg, at)
	} else {
		if e.fails > 0 && e.held == grace.SignalOK && e.kind == kindProbe {
			e.flip(cfg, at) // failed, though not for long enough to fire
		}
		e.fails, e.lastPass = 0, at
		e.passes++
		if e.held != grace.SignalFiring || e.passes >= cfg.RecoverAfter && !e.keepsFiring(at) {
			e.hold(cfg, grace.SignalOK, at)
		}
	}
	if e.held == grace.SignalFiring {
		e.sig.Fired = at
	}
	if !bad || e.held == grace.SignalFiring {
		e.confirm(shown) // what fails, not yet for long enough, does not show that all is well
	}
}

// keepsFiring tells whether it failed too shortly ago to be over.
func (e *entry) keepsFiring(at time.Time) bool {
	return e.objective != nil && at.Sub(e.lastFail) < e.objective.KeepFiring.D()
}

// pending tells whether all that an objective lacks to fire is time: whether it would pass
// was never seen, but it is looked at.
func (e *entry) pending(cfg *Config) bool {
	return e.objective != nil && e.held == grace.SignalUnknown && !e.stale && e.fails >= cfg.FailAfter
}

func (e *entry) fireIfDue(cfg *Config, now time.Time) {
	if e.held == grace.SignalFiring || e.stale || e.fails < cfg.FailAfter {
		return
	}
	if e.objective != nil && now.Sub(e.breachSince) < e.objective.For.D() {
		return
	}
	e.hold(cfg, grace.SignalFiring, now)
	e.sig.Fired = e.sig.At // no later than it was seen
	e.confirm(e.shown)
}

func (e *entry) hold(cfg *Config, state grace.SignalState, at time.Time) {
	if state == e.held {
		return
	}
	if e.held != grace.SignalUnknown {
		e.flip(cfg, at)
	}
	e.held = state
	if state != grace.SignalFiring {
		return
	}
	e.firingSince = at
	if h := e.heard; h != nil && h.State == grace.SignalFiring && h.Since.Before(at) && !e.lastPass.After(h.Since) {
		e.firingSince = h.Since // another replica has seen it all along, and nothing passed here since
	}
}

// flip counts a change, of which only the newest that matter are kept.
func (e *entry) flip(cfg *Config, at time.Time) {
	if cfg.FlapTransitions == 0 {
		return
	}
	e.transitions = append(e.transitions, at)
	if extra := len(e.transitions) - cfg.FlapTransitions; extra > 0 {
		e.transitions = append(e.transitions[:0], e.transitions[extra:]...)
	}
}

// flapWindow is longer for what is looked at rarely: one look in flapShare that
// fails is enough to be flapping.
func (e *entry) flapWindow(cfg *Config) time.Duration {
	return max(cfg.FlapWindow.D(), time.Duration(flapShare*cfg.FlapTransitions)*min(e.gaps[0], e.gaps[1]))
}

const flapShare = 4

// damp marks the signal flapping, or calm again.
func (e *entry) damp(cfg *Config, now time.Time) {
	recent, window := 0, e.flapWindow(cfg)
	for _, t := range e.transitions {
		if now.Sub(t) < window {
			recent++
		}
	}
	if e.flapping {
		e.flapping = recent > cfg.FlapTransitions/2
		return
	}
	e.flapping = cfg.FlapTransitions > 0 && recent >= cfg.FlapTransitions
}

// staleTimeout is how long the entry may be without data.
func (e *entry) staleTimeout(cfg *Config) time.Duration {
	switch {
	case e.kind == kindAlert && e.held == grace.SignalOK && e.list != nil:
		return max(cfg.StaleAfter.D(), e.list.lasts)
	case e.kind == kindAlert:
		return cfg.AlertStaleAfter.D()
	}
	// Of the last two intervals the shorter one: the longer may be an outage.
	return max(cfg.StaleAfter.D(), 2*e.sampleInterval())
}

// sampleInterval is how far apart its samples come, as configured, said by another process,
// or seen.
func (e *entry) sampleInterval() time.Duration {
	seen := min(e.gaps[0], e.gaps[1])
	if seen > 0 && !e.expected {
		return seen
	}
	return max(e.interval, seen)
}

func (e *entry) silence(now time.Time) time.Duration {
	if e.trusted.After(e.sig.At) {
		return now.Sub(e.trusted)
	}
	return now.Sub(e.sig.At)
}

// markStale makes the entry stale when its data stopped.
func (e *entry) markStale(cfg *Config, now time.Time) {
	if e.restored && e.trusted.IsZero() {
		e.trusted = now
	}
	if e.kind == kindAlert && e.held == grace.SignalOK {
		e.wearOver(cfg, now)
		return
	}
	if e.stale || e.held == grace.SignalUnknown && !e.pending(cfg) || e.silence(now) <= e.staleTimeout(cfg) {
		return
	}
	e.stale = true
	e.lostElsewhere()
}

// settle brings the published signal up to date and says whether anything that
// others act on changed.
func (e *entry) settle(cfg *Config, severity grace.Severity, now time.Time) bool {
	e.damp(cfg, now)
	state := e.held
	switch {
	case e.stale:
		state = grace.SignalStale
	case e.flapping && e.held == grace.SignalOK:
		state = grace.SignalUnstable
	}
	passing := e.passing && state == grace.SignalFiring && e.kind != kindAlert
	pending := e.pending(cfg)
	changed := state != e.sig.State || severity != e.sig.Severity || e.flapping != e.sig.Flapping ||
		passing != e.sig.Passing || e.unconfirmed != e.sig.Unconfirmed || pending != e.pended
	e.sig.Passing, e.sig.Unconfirmed, e.pended = passing, e.unconfirmed, pending
	if changed {
		e.heard = nil
	}
	if state != e.sig.State {
		e.passedAt = time.Time{}
		e.sig.State = state
		e.sig.Since = now
		if state == grace.SignalFiring && e.held == grace.SignalFiring {
			// Not now, if it was firing all along while nobody could see it.
			e.sig.Since = e.firingSince
		}
	}
	e.sig.Severity, e.sig.Flapping = severity, e.flapping
	return changed
}
