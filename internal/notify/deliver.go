package notify

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"grace"
	"grace/internal/event"
	"grace/internal/store"
)

const (
	batch = 50
	// claimFor is how long a replica owns a receiver after it said so last. One
	// attempt takes at most maxTimeout of it.
	claimFor = 12 * time.Second
	idle     = time.Second
	// firstWait doubles with every failed attempt, up to longestWait.
	firstWait   = time.Second
	longestWait = 5 * time.Minute // also when a receiver names a longer one
	// busyFor is how long it is believed that a receiver is busy, whatever it is sent.
	busyFor = 5 * time.Minute
	// suspicious is a message that was refused so often: those behind it are tried.
	suspicious = 6
	// scannedLag of events that are no messages may be read again after a start.
	scannedLag = 1000
	storeTime  = 5 * time.Second
)

// refusal is an answer that no retry changes.
type refusal struct{ err error }

func (r *refusal) Error() string { return r.err.Error() }
func (r *refusal) Unwrap() error { return r.err }

// later is an answer that says when to retry.
type later struct {
	err   error
	after time.Duration
}

func (l *later) Error() string { return l.err.Error() }
func (l *later) Unwrap() error { return l.err }

// wait is how much of it is obeyed.
func (l *later) wait() time.Duration { return min(max(l.after, firstWait), longestWait) }

// silent is no answer in time.
type silent struct{ err error }

func (s *silent) Error() string { return s.err.Error() }
func (s *silent) Unwrap() error { return s.err }

// partly is about who did not get a message that the others of the receiver got.
type partly struct {
	err   error
	final bool     // no retry changes it
	had   []string // the others
}

func (p *partly) Error() string { return p.err.Error() }
func (p *partly) Unwrap() error { return p.err }

// worker serves one receiver.
type worker struct {
	n       *Notifier
	set     *setup
	name    string
	timeout time.Duration
	out     sender
	poke    chan struct{}

	scanned int64            // events up to here are no messages, or were dealt with
	behind  time.Time        // since when there was always something to deal with; zero when there is not
	trial   trial            // of what is behind the message whose turn it is
	ahead   map[int64]fate   // what became of messages before their turn
	bad     map[string]int64 // threads of those that were bad, with the last event of that time
}

// run serves the receiver until ctx is done.
func (w *worker) run(ctx context.Context) {
	for away := false; ctx.Err() == nil; {
		wait, err := w.turn(ctx)
		if err != nil {
			if !away && ctx.Err() == nil {
				w.n.Log.WarnContext(ctx, "notifications wait: the store does not answer", "receiver", w.name, "error", err)
			}
			wait = idle
		}
		away = err != nil
		if wait <= 0 {
			continue
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-timer.C:
		case <-w.poke:
		}
		timer.Stop()
	}
}

// turn delivers what is due and gives how long to wait before the next look.
func (w *worker) turn(ctx context.Context) (time.Duration, error) {
	wait, err := w.serve(ctx)
	if errors.Is(err, errServed) {
		err = nil
	}
	return wait, err
}

// serve is the turn of the replica that serves the receiver.
func (w *worker) serve(ctx context.Context) (time.Duration, error) {
	if err := w.claim(ctx); err != nil {
		w.behind = time.Time{} // whoever served it meanwhile passed on what waited
		return idle, err
	}
	row, err := w.n.Store.Receiver(ctx, w.n.Store.Q(), w.name)
	if errors.Is(err, store.ErrNotFound) { // another replica's configuration does not know it
		return idle, w.n.Store.RegisterReceiver(ctx, w.name)
	}
	if err != nil {
		return idle, err
	}
	if row.New {
		if err := w.tellOpen(ctx, &row); err != nil {
			return idle, err
		}
	}
	if unseen(&row) && w.n.Now().Sub(*row.Retry).Abs() >= passOnAfter {
		row.Retry, row.FailingSince = nil, nil // nobody has tried it since
	}
	if err := w.passOn(ctx, &row); err != nil {
		return idle, err
	}
	if row.Retry != nil {
		// More than it was to wait is left when the clock was set back.
		if left := row.Retry.Sub(w.n.Now()); left > 0 && left <= row.Wait.D() {
			return min(left, idle), nil
		}
	}
	last, err := w.n.Store.LastEventID(ctx, w.n.Store.Q())
	if err != nil {
		return idle, err
	}
	w.scanned = max(w.scanned, row.Cursor)
	events, err := w.n.Store.Events(ctx, w.n.Store.Q(), w.scanned, patterns(), batch)
	if err != nil {
		return idle, err
	}
	w.noteBehind(events)
	for _, e := range events {
		done, err := w.event(ctx, &row, e)
		if err != nil || !done {
			return idle, err
		}
		delete(w.ahead, e.ID)
		w.scanned, w.trial = e.ID, trial{}
		if err := w.passOn(ctx, &row); err != nil { // it may take each of them slowly
			return idle, err
		}
	}
	if len(events) == batch {
		return 0, w.passOver(ctx, &row, true)
	}
	w.scanned = max(w.scanned, last)
	if err := w.passOver(ctx, &row, len(events) > 0); err != nil {
		return idle, err
	}
	return w.retryLetter(ctx, &row)
}

// errServed is about a receiver that another replica serves.
var errServed = errors.New("another replica serves the receiver")

// claim makes the receiver this replica's for a while.
func (w *worker) claim(ctx context.Context) error {
	mine, err := w.n.Store.Claim(ctx, "notify/"+w.name, w.n.Owner, claimFor)
	if err == nil && !mine {
		err = errServed
	}
	return err
}

// passOver records how far was read, once that is worth a write. Messages for
// others are: after a change of the routes they must not be sent here.
func (w *worker) passOver(ctx context.Context, row *store.Receiver, message bool) error {
	if w.scanned <= row.Cursor || !message && w.scanned-row.Cursor < scannedLag {
		return nil
	}
	row.Cursor = w.scanned
	return w.record(ctx, *row, nil)
}

// event deals with one event. False means that it is tried again later.
func (w *worker) event(ctx context.Context, row *store.Receiver, e grace.Event) (bool, error) {
	m, err := w.mine(ctx, e)
	was := w.ahead[e.ID]
	switch {
	case err != nil:
		return false, err
	case m == nil || was.passed:
		return true, nil
	case m.held:
		return true, w.hold(ctx, row, e, m)
	case m.superseded:
		return true, w.leaveOut(ctx, row, e)
	case was.late != nil:
		return true, w.dead(ctx, row, e, m, fmt.Errorf("refused, and then a later message of its thread passed: %w", was.late))
	}
	thread, refused, err := w.attempt(ctx, row, m)
	if err != nil {
		return false, err
	}
	if refused == nil {
		dealtWith(row, e)
		return true, w.delivered(ctx, row, e, m, thread, "")
	}
	if final, ok := errors.AsType[*refusal](refused); ok {
		failing(row, w.n.Now())
		row.Attempts++
		return true, w.dead(ctx, row, e, m, final.err)
	}
	return w.refused(ctx, row, e, m, refused)
}

// mine gives the event's message when this receiver gets it.
func (w *worker) mine(ctx context.Context, e grace.Event) (*Message, error) {
	m, err := w.n.message(ctx, e, false)
	if m == nil || err != nil {
		return nil, err
	}
	gets, err := w.gets(ctx, m, w.name)
	if !gets || err != nil {
		return nil, err
	}
	m.Key = "grace/" + w.name + "/" + strconv.FormatInt(e.ID, 10)
	if m.Kind.asksAttention() {
		silences, err := w.n.silences(ctx)
		if err != nil {
			return nil, err
		}
		m.held = w.set.holds(m, silences)
	}
	if m.ran != nil {
		m.superseded, err = w.toldEnd(ctx, e, m.ran)
	}
	return m, err
}

// backoff is the wait after that many failed attempts, give or take a fifth.
func (w *worker) backoff(attempts int) time.Duration {
	wait := longestWait
	if attempts < 10 {
		wait = min(firstWait<<(attempts-1), longestWait)
	}
	return time.Duration(float64(wait) * (0.8 + 0.4*w.n.Jitter()))
}

// dealtWith moves a receiver on to what comes after an event.
func dealtWith(row *store.Receiver, e grace.Event) {
	row.Cursor, row.Attempts, row.Retry = e.ID, 0, nil
}

// failing notes since when a receiver takes nothing.
func failing(row *store.Receiver, now time.Time) {
	if row.FailingSince == nil || row.FailingSince.After(now) { // the clock was set back
		row.FailingSince = &now
	}
}

// failingFor tells whether a receiver has taken nothing for so long.
func (w *worker) failingFor(row *store.Receiver, d time.Duration) bool {
	return row.FailingSince != nil && w.n.Now().Sub(*row.FailingSince) >= d
}

// noteBehind notes since when there was always something to deal with.
func (w *worker) noteBehind(events []grace.Event) {
	switch {
	case len(events) == 0:
		w.behind = time.Time{}
	case w.behind.IsZero(), w.behind.After(w.n.Now()): // the clock was set back
		w.behind = w.n.Now()
	}
}

// behindFor tells whether there was always something to deal with for so long.
func (w *worker) behindFor(d time.Duration) bool {
	return !w.behind.IsZero() && w.n.Now().Sub(w.behind) >= d
}

// delivered records a success, whoever's turn it is; letter names the dead letter
// that it was.
func (w *worker) delivered(ctx context.Context, row *store.Receiver, e grace.Event, m *Message, t Thread, letter string) error {
	now := w.n.Now()
	if !t.unsent {
		row.Delivered++
		row.LastSuccess, row.FailingSince, row.Error = &now, nil, ""
		w.n.Log.InfoContext(ctx, "notification delivered", "receiver", w.name, "kind", m.Kind, "title", m.Title, "event", e.ID)
	}
	if t.left != nil {
		row.Error = clean(t.left.Error(), maxText)
		if t.left.final {
			row.Dead++
		}
	}
	return w.record(ctx, *row, func(ctx context.Context, tx store.Tx) error {
		if letter != "" {
			if err := w.n.Store.Append(ctx, tx, event.LetterDelivered{ID: letter, At: w.n.Now()}); err != nil {
				return err
			}
		}
		return w.setRefs(ctx, tx, e, m, t)
	})
}

// failed keeps when the next attempt is due, over restarts and for all replicas.
func (w *worker) failed(ctx context.Context, row *store.Receiver, err error, wait time.Duration) error {
	now := w.n.Now()
	at := now.Add(wait)
	row.Error, row.Retry, row.Wait = clean(err.Error(), maxText), &at, grace.Duration(wait)
	failing(row, now)
	w.n.Log.WarnContext(ctx, "notification not delivered; it is tried again", "receiver", w.name, "error", row.Error,
		"attempts", row.Attempts, "in", wait.Round(time.Millisecond).String())
	return w.record(ctx, *row, nil)
}

// record writes the receiver's row, also while the daemon is being stopped:
// what was sent would be sent again after the next start.
func (w *worker) record(ctx context.Context, row store.Receiver, also func(context.Context, store.Tx) error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTime)
	defer cancel()
	return w.n.Store.Do(ctx, func(ctx context.Context, tx store.Tx) error {
		stored, err := w.n.Store.Receiver(ctx, tx, row.Name)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
		row.PassedOn = max(row.PassedOn, stored.PassedOn) // who served it meanwhile did
		if err := w.n.Store.SaveReceiver(ctx, tx, row); err != nil || also == nil {
			return err
		}
		return also(ctx, tx)
	})
}
