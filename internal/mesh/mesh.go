// Package mesh is the trigger mesh within one process: it hands events to
// whoever asked for their type.
//
//	store (outbox) -> Publish -> Subscription.C
//
// # Delivery
//
// Publishing never waits. Each subscription has a bounded buffer; one whose
// buffer is full when an event comes has fallen behind: it gets no more
// events, its channel is closed behind those it still holds, and
// [Subscription.Lagged] says so. The events themselves are in the store: a
// subscriber reads on from there, behind the last id it saw, and subscribes
// again. Nothing is ever left out in the middle of a stream.
//
// Events published by one goroutine arrive in their order. Events published
// at once by several arrive in the same order at every subscription.
//
// # Patterns
//
// A pattern is an exact event type, "prefix.*" for every type below a prefix
// (at any depth, not the prefix itself), or "*" for all.
package mesh

import (
	"slices"
	"strings"
	"sync"

	"grace"
)

// Match tells whether a pattern covers an event type.
func Match(pattern, eventType string) bool {
	if pattern == "*" {
		return true
	}
	if prefix, ok := strings.CutSuffix(pattern, "*"); ok && strings.HasSuffix(prefix, ".") {
		return len(eventType) > len(prefix) && strings.HasPrefix(eventType, prefix)
	}
	return pattern == eventType && pattern != ""
}

// Bus fans events out. It is safe for concurrent use.
type Bus struct {
	mu     sync.Mutex
	subs   []*Subscription // in the order of subscribing
	closed bool
}

// New makes a bus without subscribers.
func New() *Bus { return &Bus{} }

// Publish hands events to every subscription that asked for them. It never
// waits for one. On a closed bus it does nothing.
func (b *Bus) Publish(events ...grace.Event) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, e := range events {
		// Backward, since a subscription that falls behind leaves b.subs on
		// the way: only those already visited move.
		for _, s := range slices.Backward(b.subs) {
			if !s.wants(e.Type) {
				continue
			}
			select {
			case s.events <- e:
			default:
				s.lagged = true
				b.drop(s)
			}
		}
	}
}

// Subscribe asks for the events that match one of the patterns; without any
// pattern none does. buffer is how many events it may be behind, at least 1.
// On a closed bus the subscription is closed from the start.
func (b *Bus) Subscribe(buffer int, patterns ...string) *Subscription {
	s := &Subscription{bus: b, events: make(chan grace.Event, max(buffer, 1)), patterns: slices.Clone(patterns)}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.subs = append(b.subs, s)
	if b.closed {
		b.drop(s)
	}
	return s
}

// Subscribers is how many subscriptions are open.
func (b *Bus) Subscribers() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.subs)
}

// Close ends every subscription; what they hold can still be read. It may be
// called again.
func (b *Bus) Close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	for _, s := range slices.Backward(b.subs) {
		b.drop(s)
	}
}

// drop ends a subscription once. b.mu is held.
func (b *Bus) drop(s *Subscription) {
	i := slices.Index(b.subs, s)
	if i < 0 {
		return
	}
	b.subs = slices.Delete(b.subs, i, i+1)
	close(s.events)
}

// Subscription is one subscriber's share of the events. It must be read or
// closed.
type Subscription struct {
	bus      *Bus
	events   chan grace.Event
	patterns []string
	lagged   bool // guarded by bus.mu
}

// C gives the events. It is closed when the subscription ends: by Close, by
// falling behind, or with the bus.
func (s *Subscription) C() <-chan grace.Event { return s.events }

// Close ends the subscription. Events it still holds can be read. It may be
// called again, and from any goroutine.
func (s *Subscription) Close() {
	s.bus.mu.Lock()
	defer s.bus.mu.Unlock()
	s.bus.drop(s)
}

// Lagged tells whether the subscription was ended because it fell behind:
// then events after the last one of C were missed and are in the store.
func (s *Subscription) Lagged() bool {
	s.bus.mu.Lock()
	defer s.bus.mu.Unlock()
	return s.lagged
}

func (s *Subscription) wants(eventType string) bool {
	return slices.ContainsFunc(s.patterns, func(p string) bool { return Match(p, eventType) })
}
