package loop

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"grace"
	"grace/internal/content"
	"grace/internal/decide"
)

// replicatedCache holds the signals and predictions of all replicas: what this one
// wrote, and what it hears of the others over the outbox.
type replicatedCache struct {
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

	// What is known, as decisions record it, and the services whose signals have
	// changed since.
	signalMap, predictionMap content.Map
	dirty                    map[grace.ServiceID]bool
}

func (m *replicatedCache) signals(list []grace.Signal) {
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
func (m *replicatedCache) says(k grace.SignalKey, word published) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.signal(k)
	return s != nil && !s.Unconfirmed && published{s.State, s.Severity, s.Flapping} == word
}

// unconfirm takes signals as they are known and no longer as evidence.
func (m *replicatedCache) unconfirm(list []grace.Signal, now time.Time) {
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
func (m *replicatedCache) doubt(key grace.SignalKey, since time.Time) {
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

func (m *replicatedCache) isUnconfirmed(key grace.SignalKey) bool {
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
func (m *replicatedCache) clockStepped(now time.Time, step time.Duration) {
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
		for _, t := range []*time.Time{&s.Fired, &s.FailingSince, &s.Repeated} {
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
func (m *replicatedCache) foreseeAnew(now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.anew = now
	clear(m.predicted)
}

// signal gives what is known under a key, or nil. The caller holds the lock.
func (m *replicatedCache) signal(k grace.SignalKey) *grace.Signal {
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
func (m *replicatedCache) change(k grace.SignalKey, s *grace.Signal) {
	if m.changed == nil {
		m.changed = map[grace.SignalKey]*grace.Signal{}
	}
	if m.dirty == nil {
		m.dirty = map[grace.ServiceID]bool{}
	}
	if old := m.signal(k); old != nil {
		m.dirty[old.Service] = true
	}
	if s != nil {
		m.dirty[s.Service] = true
	}
	m.changed[k] = s
	m.version++
}

// changes counts the changes of signals.
func (m *replicatedCache) changes() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.version
}

// predictions takes what was said now. Of several rules' words on a series the
// likeliest counts.
func (m *replicatedCache) predictions(list []grace.Prediction) {
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
func (m *replicatedCache) turned(list []grace.Prediction) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, p := range list {
		if held, ok := m.predicted[p.Key]; ok && held.Rule == p.Rule {
			m.end(held)
		}
	}
}

// lost forgets predictions for lack of data. That is no turn of any trend.
func (m *replicatedCache) lost(list []grace.Prediction) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, p := range list {
		if held, ok := m.predicted[p.Key]; ok && held.Rule == p.Rule {
			delete(m.predicted, p.Key)
		}
	}
}

// end forgets a prediction. The caller holds the lock.
func (m *replicatedCache) end(p grace.Prediction) {
	delete(m.predicted, p.Key)
	if m.ended == nil {
		m.ended = map[grace.ServiceID]bool{}
	}
	m.ended[p.Service] = true
}

// clearedPredictions gives the services of which something was predicted since it was
// asked last, and nothing is any more.
func (m *replicatedCache) clearedPredictions() []grace.ServiceID {
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
// merged into it, since sorting all anew in every pass of a storm is expensive.
func (m *replicatedCache) allSignals() []grace.Signal {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.merge()
	return m.sorted
}

func (m *replicatedCache) merge() {
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
func (m *replicatedCache) current(now time.Time, fresh time.Duration) []grace.Prediction {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.renewed(now, fresh)
}

// renewed is current for who holds the lock.
func (m *replicatedCache) renewed(now time.Time, fresh time.Duration) []grace.Prediction {
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

// known is what is known at a time, as lists and as decisions record it.
type known struct {
	signals                  []grace.Signal     // sorted by key; never changed
	predictions              []grace.Prediction // sorted by key
	signalMap, predictionMap content.Map
}

// known gives all that is known, with predictions that were renewed within fresh.
func (m *replicatedCache) known(now time.Time, fresh time.Duration) known {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.merge()
	k := known{signals: m.sorted, predictions: m.renewed(now, fresh)}
	for id := range m.dirty {
		own := m.of(id)
		if len(own) == 0 {
			m.signalMap = m.signalMap.Without(string(id))
			continue
		}
		m.signalMap = m.signalMap.With(string(id), content.Blob(own))
	}
	clear(m.dirty)
	m.predictionMap = decide.MapOf(m.predictionMap, k.predictions, func(p grace.Prediction) string { return string(p.Key) })
	k.signalMap, k.predictionMap = m.signalMap, m.predictionMap
	return k
}

// of gives the signals of a service. All keys of one begin with its name. The caller
// holds the lock, and nothing has changed since the last merge.
func (m *replicatedCache) of(id grace.ServiceID) (own []grace.Signal) {
	prefix := string(id) + "/"
	i, _ := slices.BinarySearchFunc(m.sorted, grace.SignalKey(prefix), byKey)
	for ; i < len(m.sorted) && strings.HasPrefix(string(m.sorted[i].Key), prefix); i++ {
		if m.sorted[i].Service == id {
			own = append(own, m.sorted[i])
		}
	}
	return own
}
