package shop

import (
	"context"
	"slices"
	"sync"
	"time"
)

// pool lets a few requests work at once; the others wait in the order they
// came. Its size can change while it is in use.
type pool struct {
	mu      sync.Mutex
	slots   int
	busy    int
	waiting []chan struct{}
	worked  time.Duration // of all slots, up to since
	since   time.Time
}

// load gives the time that all slots together have worked, and their number.
func (p *pool) load(now time.Time) (worked time.Duration, slots int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.account(now)
	return p.worked, p.slots
}

// account is called before busy changes.
func (p *pool) account(now time.Time) {
	if !p.since.IsZero() {
		p.worked += time.Duration(p.busy) * now.Sub(p.since)
	}
	p.since = now
}

func (p *pool) resize(slots int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.slots = slots
	p.admit()
}

// acquire waits for a slot. A caller whose ctx ends leaves the queue.
func (p *pool) acquire(ctx context.Context) error {
	p.mu.Lock()
	if p.busy < p.slots && len(p.waiting) == 0 {
		p.account(time.Now())
		p.busy++
		p.mu.Unlock()
		return nil
	}
	turn := make(chan struct{})
	p.waiting = append(p.waiting, turn)
	p.mu.Unlock()

	select {
	case <-turn:
		return nil
	case <-ctx.Done():
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if i := slices.Index(p.waiting, turn); i >= 0 {
		p.waiting = slices.Delete(p.waiting, i, i+1)
		return ctx.Err()
	}
	// The slot came in the same moment: pass it on.
	p.account(time.Now())
	p.busy--
	p.admit()
	return ctx.Err()
}

func (p *pool) release() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.account(time.Now())
	p.busy--
	p.admit()
}

// admit lets in who waits, as far as there are slots.
func (p *pool) admit() {
	p.account(time.Now())
	for p.busy < p.slots && len(p.waiting) > 0 {
		close(p.waiting[0])
		p.waiting = slices.Delete(p.waiting, 0, 1)
		p.busy++
	}
}
