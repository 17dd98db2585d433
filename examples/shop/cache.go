package shop

import (
	"encoding/json"
	"sync"
	"time"
)

const (
	// hitWindow is how many lookups the hit ratio is over: some seconds of load.
	hitWindow = 300
	// fillTTL is how long an entry lives that a caller filled in.
	fillTTL = 10 * time.Minute
)

// items is the memory of a cache replica.
type items struct {
	mu      sync.Mutex
	entries map[int]item
	cold    bool
	hits    []bool // of the last lookups, oldest first
}

type item struct {
	value   json.RawMessage
	expires time.Time // zero is never
}

// get looks an entry up.
func (c *items) get(id int, now time.Time) (json.RawMessage, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.entries[id]
	if ok && !e.expires.IsZero() && !now.Before(e.expires) {
		delete(c.entries, id)
		ok = false
	}
	c.hits = append(c.hits, ok)
	if len(c.hits) > hitWindow {
		c.hits = c.hits[1:]
	}
	return e.value, ok
}

// fill adds entries; a ttl of 0 is for ever. A cold cache takes nothing.
func (c *items) fill(values map[int]json.RawMessage, ttl time.Duration, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cold {
		return
	}
	var expires time.Time
	if ttl > 0 {
		expires = now.Add(ttl)
	}
	if c.entries == nil {
		c.entries = map[int]item{}
	}
	for id, v := range values {
		c.entries[id] = item{value: v, expires: expires}
	}
}

// setCold empties the cache and stops it from filling, or lets it fill again.
func (c *items) setCold(cold bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if cold && !c.cold {
		c.entries = nil
	}
	c.cold = cold
}

// stats gives the hit ratio of the last lookups (1 when there were none) and
// the number of entries.
func (c *items) stats() (hitRatio float64, entries int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.hits) == 0 {
		return 1, len(c.entries)
	}
	n := 0
	for _, h := range c.hits {
		if h {
			n++
		}
	}
	return float64(n) / float64(len(c.hits)), len(c.entries)
}
