package flow

import (
	"context"
	"sync"
	"time"
)

// drain counts the steps that are doing something outside, so that a stop can
// let them end: an action that is broken off has to be verified, and perhaps
// done again, by the next process.
type drain struct {
	begun context.Context //nolint:containedctx // a signal that contexts can follow
	begin context.CancelFunc

	mu    sync.Mutex
	count int
	idle  chan struct{} // made by wait, closed when count falls to 0
}

func newDrain() *drain {
	ctx, cancel := context.WithCancel(context.Background())
	return &drain{begun: ctx, begin: cancel}
}

// enter counts a step in; false means that no more may begin.
func (d *drain) enter() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.begun.Err() != nil {
		return false
	}
	d.count++
	return true
}

func (d *drain) leave() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.count--; d.count == 0 && d.idle != nil {
		close(d.idle)
	}
}

// wait lets no step begin any more and waits for those under way.
func (d *drain) wait(timeout time.Duration) {
	d.mu.Lock()
	d.begin()
	if d.count == 0 || d.idle != nil {
		d.mu.Unlock()
		return
	}
	d.idle = make(chan struct{})
	d.mu.Unlock()
	select {
	case <-d.idle:
	case <-time.After(timeout):
	}
}
