package loop

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"grace"
	"grace/internal/content"
	"grace/internal/heal"
	"grace/internal/store"
)

// Observe takes samples from a sensor or the API. When it returns nil, every
// change of a signal that they caused is durable. It wraps ErrBusy or ErrNoRoom
// when samples were not taken.
func (l *Loop) Observe(ctx context.Context, samples ...grace.Sample) error {
	return l.observe(ctx, true, samples)
}

// Judge is Observe for samples whose series are forecast elsewhere, by the
// agents of shards.
func (l *Loop) Judge(ctx context.Context, samples ...grace.Sample) error {
	return l.observe(ctx, false, samples)
}

// Recall shows the forecasts what was measured before this process began; it is
// no symptom of anything now.
func (l *Loop) Recall(_ context.Context, samples ...grace.Sample) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range samples {
		if s.Kind == grace.SampleMetric {
			l.predict.Observe(s.Service, s.Metric, s.At, s.Value)
		}
	}
	return nil
}

func (l *Loop) observe(ctx context.Context, forecast bool, samples []grace.Sample) error {
	lost, queued, full := l.sensed(forecast, samples)
	if full {
		// Perhaps the store is back; if not, its error says what is wrong.
		if err := l.flush(ctx); err != nil {
			return fmt.Errorf("%w, %d samples were not taken: %w", ErrBusy, len(samples), err)
		}
		return fmt.Errorf("%w, %d samples were not taken", ErrBusy, len(samples))
	}
	l.stats.samples.Add(int64(len(samples)))
	if queued {
		if err := l.flush(ctx); err != nil {
			return err
		}
	}
	if lost > 0 {
		return fmt.Errorf("%d of %d samples were not taken: %w", lost, len(samples), ErrNoRoom)
	}
	return nil
}

// sensed shows samples to the agents, and queues what they change. The lock is
// given back whatever a sample does: a panic must not end all intake.
func (l *Loop) sensed(forecast bool, samples []grace.Sample) (lost int, queued, full bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.unsaved.full() {
		return 0, false, true
	}
	var changed []grace.Signal
	now := l.Now()
	l.noticeStep(now)
	for _, s := range samples {
		if s.At.Unix() < 0 {
			continue // no clock says so
		}
		if s.At.After(now.Add(farAhead)) {
			s.At = now
			l.stats.clamped.Add(1)
		}
		s.Code = s.Code.Canonical()
		dropped := l.sense.Dropped()
		changed = append(changed, l.sense.Observe(s)...)
		if s.Kind == grace.SampleAlert {
			lost += l.sense.Dropped() - dropped
		}
		if forecast && s.Kind == grace.SampleMetric {
			l.predict.Observe(s.Service, s.Metric, s.At, s.Value)
		}
	}
	l.keep(changed)
	// Also what others could not write, or are writing: a peer that was told
	// so sends its samples again, and they change nothing the second time.
	return lost, l.unsaved.pending() > 0, false
}

// Post records events from outside with what was read from them.
func (l *Loop) Post(ctx context.Context, events []grace.Event, samples []grace.Sample, predictions []grace.Prediction) error {
	if len(events) > 0 {
		err := l.Store.Do(ctx, func(ctx context.Context, tx store.Tx) error {
			return l.Store.Apply(ctx, tx, grace.Change{Events: events})
		})
		if err != nil {
			return fmt.Errorf("record events: %w", err)
		}
	}
	if err := l.Observe(ctx, samples...); err != nil {
		return err
	}
	return l.foretold(ctx, predictions)
}

// Metric gives the newest value of a series, and the distance at which its
// values come, 0 when that is not known.
func (l *Loop) Metric(service grace.ServiceID, metric string, since time.Time) (value float64, at time.Time, every time.Duration, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	points := l.sense.Points(service, metric, time.Time{})
	n := len(points)
	if n > 1 {
		every = points[n-1].At.Sub(points[n-2].At)
	}
	if n == 0 || points[n-1].At.Before(since) {
		return 0, time.Time{}, every, false
	}
	return points[n-1].Value, points[n-1].At, every, true
}

// persist writes signal changes with the triggers they are, and what else was
// said.
func (l *Loop) persist(ctx context.Context, changed []grace.Signal, more ...said) error {
	l.mu.Lock()
	l.keep(changed, more...)
	l.mu.Unlock()
	return l.flush(ctx)
}

// signalChange records one change of a signal, and the trigger that it is. Of
// several changes of one signal the row is the last one's; last holds where. A
// quiet one, whose state is what it was, is no entry of the log.
func signalChange(c *grace.Change, last map[grace.SignalKey]int, s grace.Signal, quiet bool, owner string, now time.Time) {
	if i, ok := last[s.Key]; ok {
		c.Signals[i] = s
	} else {
		last[s.Key] = len(c.Signals)
		c.Signals = append(c.Signals, s)
	}
	c.Events = append(c.Events, grace.Event{
		Type: eventSignal, Source: "sense", Actor: owner, Resource: "signal/" + string(s.Key), Payload: heal.Encode(s), Timestamp: now,
	})
	if quiet {
		return
	}
	action := "signal." + string(s.State)
	if s.Gone {
		action = "signal.forgotten"
	}
	c.Audit = append(c.Audit, grace.AuditEntry{
		At: now, Actor: grace.Self, Action: action, Object: "signal/" + string(s.Key), Service: s.Service, Reason: s.Message,
	})
	if s.State == grace.SignalFiring && !s.Unconfirmed {
		c.Triggers = append(c.Triggers, reactive(s, now))
	}
}

// reactive makes the trigger of a firing signal. Its id is made from the
// condition, so the same one, seen again or by another replica, is the same.
func reactive(s grace.Signal, now time.Time) grace.Trigger {
	fingerprint := string(s.Key)
	return grace.Trigger{
		ID: grace.TriggerID("t-" + content.ID(fingerprint, s.Since, s.Severity)), Kind: grace.TriggerReactive, State: grace.TriggerPending,
		Service: s.Service, Code: s.Code, Severity: s.Severity, Signal: s.Key, Source: s.Sensor,
		Fingerprint: fingerprint, Message: s.Message, At: now,
	}
}

// mirror holds the signals and predictions of all replicas: what this one
// wrote, and what it hears of the others over the outbox.
type mirror struct {
	mu        sync.Mutex
	version   int64                                // of the signals
	sorted    []grace.Signal                       // by key, as allSignals gave them last; never changed
	changed   map[grace.SignalKey]*grace.Signal    // since then; nil: gone
	predicted map[grace.SignalKey]grace.Prediction // by series
	// unconfirmed signals need a sample that is newer than the time: what is
	// stored, or was seen under another configuration, is no evidence.
	unconfirmed map[grace.SignalKey]time.Time
	ended       map[grace.ServiceID]bool // something was predicted of them, and is no more
	anew        time.Time                // what was predicted before shows nothing any more
}

func (m *mirror) signals(list []grace.Signal) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range list {
		if old := m.signal(s.Key); old != nil && old.At.After(s.At) && (s.Gone || old.Since.After(s.Since)) {
			continue // heard late of an older state
		}
		if s.Gone {
			delete(m.unconfirmed, s.Key)
			m.change(s.Key, nil)
			continue
		}
		after, waits := m.unconfirmed[s.Key]
		if s.Unconfirmed = waits && (s.Unconfirmed || !s.At.After(after)); waits && !s.Unconfirmed {
			delete(m.unconfirmed, s.Key)
		}
		m.change(s.Key, &s)
	}
}

// says tells whether a signal is known to be so.
func (m *mirror) says(k grace.SignalKey, word published) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.signal(k)
	return s != nil && !s.Unconfirmed && published{s.State, s.Severity, s.Flapping} == word
}

// unconfirm takes signals as they are known and no longer as evidence.
func (m *mirror) unconfirm(list []grace.Signal, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.unconfirmed == nil {
		m.unconfirmed = map[grace.SignalKey]time.Time{}
	}
	for _, s := range list {
		if held := m.signal(s.Key); held != nil {
			s = *held
		}
		m.unconfirmed[s.Key] = now
		s.Unconfirmed = true
		m.change(s.Key, &s)
	}
}

// doubt takes a signal for no evidence until a sample comes that is newer than
// since, as what this process saw is from before.
func (m *mirror) doubt(key grace.SignalKey, since time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, waits := m.unconfirmed[key]; waits {
		return
	}
	if m.unconfirmed == nil {
		m.unconfirmed = map[grace.SignalKey]time.Time{}
	}
	m.unconfirmed[key] = since
}

func (m *mirror) isUnconfirmed(key grace.SignalKey) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, waits := m.unconfirmed[key]
	return waits
}

// clockStepped tells that the clock was set. Set back, all times that are known
// go back with it: what lasts has lasted as long as before, and what is to be
// confirmed by a sample later than a time that has not come yet is so by the
// next one. Set ahead, they stay: a source whose clock was not set would be late
// until it had caught up.
func (m *mirror) clockStepped(now time.Time, step time.Duration) {
	if step > 0 {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for k, t := range m.unconfirmed {
		m.unconfirmed[k] = earlier(t.Add(step), now)
	}
	m.anew = earlier(m.anew.Add(step), now)
	m.merge()
	for i := range m.sorted {
		s := m.sorted[i]
		s.At, s.Since = earlier(s.At.Add(step), now), earlier(s.Since.Add(step), now)
		for _, t := range []*time.Time{&s.Fired, &s.FailingSince} {
			if !t.IsZero() { // else what recovered explained others until that time came
				*t = earlier(t.Add(step), now)
			}
		}
		m.change(s.Key, &s)
	}
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// foreseeAnew forgets all predictions, also those that are on their way: they are
// made anew under another configuration, or from new samples. That is no turn of any
// trend.
func (m *mirror) foreseeAnew(now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.anew = now
	clear(m.predicted)
}

// signal gives what is known under a key, or nil. The caller holds the lock.
func (m *mirror) signal(k grace.SignalKey) *grace.Signal {
	if s, ok := m.changed[k]; ok {
		return s
	}
	if i, found := slices.BinarySearchFunc(m.sorted, k, byKey); found {
		return &m.sorted[i]
	}
	return nil
}

func byKey(s grace.Signal, k grace.SignalKey) int { return cmp.Compare(s.Key, k) }

// change sets or, with nil, removes a signal. The caller holds the lock.
func (m *mirror) change(k grace.SignalKey, s *grace.Signal) {
	if m.changed == nil {
		m.changed = map[grace.SignalKey]*grace.Signal{}
	}
	m.changed[k] = s
	m.version++
}

// changes counts the changes of signals.
func (m *mirror) changes() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.version
}

// predictions takes what was said now. Of several rules' words on a series the
// likeliest counts.
func (m *mirror) predictions(list []grace.Prediction) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.predicted == nil {
		m.predicted = map[grace.SignalKey]grace.Prediction{}
	}
	for _, p := range list {
		if !p.At.After(m.anew) {
			continue
		}
		if held, ok := m.predicted[p.Key]; ok && held.Rule != p.Rule && held.At.Equal(p.At) && held.Likelihood >= p.Likelihood {
			continue
		}
		m.predicted[p.Key] = p
	}
}

// turned forgets predictions that do not stand any more. What other replicas
// foresaw ends by itself, see current.
func (m *mirror) turned(list []grace.Prediction) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, p := range list {
		if held, ok := m.predicted[p.Key]; ok && held.Rule == p.Rule {
			m.end(held)
		}
	}
}

// lost forgets predictions for lack of data. That is no turn of any trend.
func (m *mirror) lost(list []grace.Prediction) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, p := range list {
		if held, ok := m.predicted[p.Key]; ok && held.Rule == p.Rule {
			delete(m.predicted, p.Key)
		}
	}
}

// end forgets a prediction. The caller holds the lock.
func (m *mirror) end(p grace.Prediction) {
	delete(m.predicted, p.Key)
	if m.ended == nil {
		m.ended = map[grace.ServiceID]bool{}
	}
	m.ended[p.Service] = true
}

// wellAgain gives the services of which something was predicted since it was
// asked last, and nothing is any more.
func (m *mirror) wellAgain() []grace.ServiceID {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.ended) == 0 {
		return nil
	}
	for _, p := range m.predicted {
		delete(m.ended, p.Service)
	}
	out := slices.Sorted(maps.Keys(m.ended))
	clear(m.ended)
	return out
}

// allSignals gives the signals sorted by key. The caller must not change them:
// the same list is given again while nothing changes, and what has changed is
// merged into it, since to sort all anew in every pass of a storm is dear.
func (m *mirror) allSignals() []grace.Signal {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.merge()
	return m.sorted
}

func (m *mirror) merge() {
	if len(m.changed) == 0 {
		return
	}
	merged := make([]grace.Signal, 0, len(m.sorted)+len(m.changed))
	old := m.sorted
	for _, k := range slices.Sorted(maps.Keys(m.changed)) {
		i, found := slices.BinarySearchFunc(old, k, byKey)
		merged, old = append(merged, old[:i]...), old[i:]
		if found {
			old = old[1:]
		}
		if s := m.changed[k]; s != nil {
			merged = append(merged, *s)
		}
	}
	m.sorted = append(merged, old...)
	clear(m.changed)
}

// current gives the predictions that were renewed within fresh, sorted by key,
// and forgets the others: whether they have turned, or nobody measures any more
// what they are about, is known to those who made them.
func (m *mirror) current(now time.Time, fresh time.Duration) []grace.Prediction {
	m.mu.Lock()
	defer m.mu.Unlock()
	var predictions []grace.Prediction
	for _, p := range m.predicted {
		if now.Sub(p.At) > fresh {
			delete(m.predicted, p.Key)
			continue
		}
		predictions = append(predictions, p)
	}
	slices.SortFunc(predictions, func(a, b grace.Prediction) int { return cmp.Compare(a.Key, b.Key) })
	return predictions
}
