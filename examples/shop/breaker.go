package shop

import (
	"sync"
	"time"
)

// A breaker looks at the last breakerWindow calls.
const (
	breakerWindow   = 20
	breakerFailures = 16
	breakerPause    = time.Second
)

// breaker cuts off a service whose calls fail. Open, it lets one call through
// per breakerPause; that call's success closes it, unless it is stuck.
type breaker struct {
	mu      sync.Mutex
	results []bool // true failed, oldest first
	open    bool
	stuck   bool
	retryAt time.Time
}

// allow says whether a call may be made now.
func (b *breaker) allow(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.stuck:
		return false
	case !b.open:
		return true
	case now.Before(b.retryAt):
		return false
	}
	b.retryAt = now.Add(breakerPause)
	return true
}

// done tells the outcome of an allowed call.
func (b *breaker) done(now time.Time, failed bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.open {
		if !failed {
			b.open, b.results = false, nil
		}
		return
	}
	b.results = append(b.results, failed)
	if len(b.results) > breakerWindow {
		b.results = b.results[1:]
	}
	failures := 0
	for _, f := range b.results {
		if f {
			failures++
		}
	}
	if failures >= breakerFailures {
		b.open, b.retryAt = true, now.Add(breakerPause)
	}
}

// stick forces the breaker open, or lets go of it and closes it.
func (b *breaker) stick(stuck bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.stuck && !stuck {
		b.open, b.results = false, nil
	}
	b.stuck = stuck
}

// flush closes the breaker and forgets what it saw.
func (b *breaker) flush() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.open, b.stuck, b.results = false, false, nil
}

func (b *breaker) isOpen() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.open || b.stuck
}
