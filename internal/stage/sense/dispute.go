package sense

import (
	"time"

	"grace"
)

// Replicas that each look for themselves may see different things: one of them
// may be cut off from a service that is well. What one sees pass is no reason to
// act, however often another one sees it fail; when it lasts people are told.

// disputeTold is how long replicas must see different things before that is
// published as what keeps changing is.
const disputeTold = time.Minute

// wordLasts is how long what another replica saw counts: until it has been asked
// again, and had the time to look.
func (e *entry) wordLasts(cfg *Config) time.Duration { return askEvery + e.staleTimeout(cfg) }

// disputes tells whether a probe or objective of this replica fails, while another
// replica saw the same one pass a moment ago.
func (e *entry) disputes(cfg *Config) bool { return !e.passing && e.doubted(cfg) }

// doubted tells whether another replica saw a probe or objective pass a moment ago
// that fires here.
func (e *entry) doubted(cfg *Config) bool {
	return e.expected && e.held == grace.SignalFiring && !e.stale && !e.passedAt.IsZero() &&
		e.judged.Sub(e.passedAt) < e.wordLasts(cfg)
}

// disputed tells whether a probe or objective of this replica passes, while another
// replica sees the same one fail.
func (e *entry) disputed() bool {
	return e.expected && e.passing && e.held == grace.SignalOK && !e.stale && e.heard != nil && disputed(*e.heard)
}

// argue notes with every sample since when replicas see different things.
func (e *entry) argue(cfg *Config) {
	switch {
	case !e.doubted(cfg):
		e.arguing = time.Time{}
	case e.arguing.IsZero() && !e.passing:
		e.arguing = e.judged
	}
}

// word is what this replica says of a change.
func (e *entry) word(cfg *Config) grace.Signal {
	if e.argue(cfg); e.disputes(cfg) {
		return e.argued(cfg)
	}
	return e.signal(cfg)
}

// argued is what this replica says of what it sees fail and another pass.
func (e *entry) argued(cfg *Config) grace.Signal {
	s := e.signal(cfg)
	s.Passing, s.Flapping = true, !e.arguing.IsZero() && e.judged.Sub(e.arguing) >= disputeTold
	s.Message += "; another replica sees it pass"
	return s
}

// settled drops what another replica saw fail and does not speak of any more. It
// gives whether it did.
func (e *entry) settled(cfg *Config, now time.Time) bool {
	if !e.disputed() || now.Sub(e.failedAt) <= e.wordLasts(cfg) {
		return false
	}
	e.heard = nil
	return true
}
