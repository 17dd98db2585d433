package daemon

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"grace/internal/api"
)

const readyTimeout = 2 * time.Second

// ready is nil when GRACE can do its work. It answers in time also when the database
// does not: one question at a time is left to it, and until that is answered GRACE is
// not ready.
func (d *Daemon) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	q := d.asking.ask(func() error { return d.works(ctx) })
	err := errSilent
	select {
	case <-q.done:
		err = q.err
	case <-ctx.Done():
	}
	d.unready.note(err)
	return err
}

// asking lets all who ask the same at once share one answer.
type asking struct {
	mu   sync.Mutex
	open *question
}

type question struct {
	done chan struct{}
	err  error // once done is closed
}

func (a *asking) ask(f func() error) *question {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.open != nil {
		return a.open
	}
	q := &question{done: make(chan struct{})}
	a.open = q
	go func() {
		q.err = f()
		a.mu.Lock()
		a.open = nil
		a.mu.Unlock()
		close(q.done)
	}()
	return q
}

var errSilent = errors.New("the store does not answer in time")

func (d *Daemon) works(ctx context.Context) error {
	n, stuck, _ := d.loop.WriteQueue()
	if err := d.store.Writable(ctx); err != nil {
		return &api.Unready{Since: stuck, Err: fmt.Errorf("store: %w", err)}
	}
	if !stuck.IsZero() && now().Sub(stuck) > stuckAfter {
		return fmt.Errorf("store: %d changes have waited to be written since %s; what is observed leads to nothing until they are", n, stuck.Format(time.RFC3339))
	}
	if _, _, err := d.engine.Depth(); err != nil {
		return err
	}
	return nil
}

// stuckAfter is how long nothing of the write queue may be written before GRACE
// says that it is not ready.
const stuckAfter = 10 * time.Second

// unready is why GRACE was not ready when that was asked last; what is asked
// every few seconds (see coreParts) is never old. What is stored cannot say it:
// the very samples that would are not written.
type unready struct{ text atomic.Pointer[string] }

func (u *unready) note(err error) {
	if err == nil {
		u.text.Store(nil)
		return
	}
	text := api.NotReady(err)
	u.text.Store(&text)
}

// words gives it, or nothing when GRACE was ready.
func (u *unready) words() string {
	if text := u.text.Load(); text != nil {
		return *text
	}
	return ""
}
