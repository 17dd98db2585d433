package store

import (
	"context"
	"sync"
)

// notifier are the channels given out by Wake on SQLite.
type notifier struct {
	mu       sync.Mutex
	channels map[chan struct{}]struct{}
}

func (w *notifier) add() chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.channels == nil {
		w.channels = map[chan struct{}]struct{}{}
	}
	c := make(chan struct{}, 1)
	w.channels[c] = struct{}{}
	return c
}

func (w *notifier) remove(c chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.channels, c)
	close(c)
}

func (w *notifier) all() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for c := range w.channels {
		poke(c)
	}
}

// poke leaves one wake in the channel, whoever many came.
func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Wake gives a channel that receives after events were committed: on SQLite by
// this process, on PostgreSQL by any replica. It is a hint that saves waiting.
// Wakes may run together or, while a connection is lost, be missed, so the
// reader looks every second or so besides. The channel is closed when ctx is
// done.
func (s *Store) Wake(ctx context.Context) <-chan struct{} {
	if !s.Postgres() {
		c := s.wakes.add()
		context.AfterFunc(ctx, func() { s.wakes.remove(c) })
		return c
	}
	c := make(chan struct{}, 1)
	go func() {
		defer close(c)
		s.listen(ctx, func() { poke(c) })
	}()
	return c
}
