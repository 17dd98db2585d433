package notify

import (
	"context"
	"fmt"
	"slices"
	"time"

	"grace/internal/store"
)

// patience is how long a message may wait before it is said that nobody is
// told.
const patience = 5 * time.Minute

// Status tells whether people are told.
type Status struct {
	Told      bool // false: nobody is told
	Reason    string
	Hint      string
	Receivers []ReceiverStatus // as configured
}

// ReceiverStatus is how one receiver fares.
type ReceiverStatus struct {
	store.Receiver

	Type    string
	Waiting int       // events that may be messages for it
	Letters int       // dead letters
	oldest  time.Time // of what waits, and no other receiver was told instead
}

// Status reads how all receivers fare, whichever replica serves them.
func (n *Notifier) Status(ctx context.Context) (Status, error) {
	set := n.current()
	q := n.Store.Q()
	rows, err := n.Store.Receivers(ctx, q)
	if err != nil {
		return Status{}, err
	}
	letters, err := n.Store.CountDeadLetters(ctx, q)
	if err != nil {
		return Status{}, err
	}
	var s Status
	for _, r := range set.Receivers {
		one := ReceiverStatus{Receiver: store.Receiver{Name: r.Name}, Type: r.Type, Letters: letters[r.Name]}
		if i := slices.IndexFunc(rows, func(row store.Receiver) bool { return row.Name == r.Name }); i >= 0 {
			one.Receiver = rows[i]
			if one.Waiting, err = n.Store.CountEvents(ctx, q, one.Cursor, patterns()); err != nil {
				return Status{}, err
			}
		}
		s.Receivers = append(s.Receivers, one)
	}
	for i := range s.Receivers {
		r := &s.Receivers[i]
		if r.Waiting == 0 {
			continue
		}
		first, err := n.Store.Events(ctx, q, max(r.Cursor, min(r.PassedOn, s.takenByOthers(i))), patterns(), 1)
		if err != nil {
			return Status{}, err
		}
		for _, e := range first {
			r.oldest = e.Timestamp
		}
	}
	s.judge(n.Now())
	return s, nil
}

// takenByOthers gives the newest event up to which another receiver, which does not
// fail, has taken what was for it.
func (s *Status) takenByOthers(i int) (id int64) {
	for k, r := range s.Receivers {
		if k != i && r.FailingSince == nil {
			id = max(id, r.Cursor)
		}
	}
	return id
}

// judge tells whether nobody is told: there is no receiver, or a message that nobody
// else was told waits for longer than patience in which none was accepted.
func (s *Status) judge(now time.Time) {
	if len(s.Receivers) == 0 {
		s.Reason = "no receiver is configured: questions and incidents reach nobody"
		s.Hint = "add one under notify.receivers, then: grace notify test"
		return
	}
	var since time.Time // the oldest thing that nobody was told
	var why string
	s.Told = true
	all := !slices.ContainsFunc(s.Receivers, func(r ReceiverStatus) bool { return r.FailingSince == nil })
	for _, r := range s.Receivers {
		if r.LastSuccess != nil && now.Sub(*r.LastSuccess) < patience {
			return
		}
		waits := r.oldest
		if r.FailingSince != nil && (all && waits.IsZero() || !waits.IsZero() && r.FailingSince.Before(waits)) {
			waits = *r.FailingSince
		}
		if waits.IsZero() || !since.IsZero() && !waits.Before(since) {
			continue
		}
		since, why = waits, r.Name
		if r.Error != "" {
			why += ": " + r.Error
		}
	}
	if since.IsZero() || now.Sub(since) < patience {
		return
	}
	s.Told = false
	s.Reason = fmt.Sprintf("no receiver has accepted a message while one waits for %s (%s)", span(now.Sub(since)), why)
	s.Hint = "see grace notify list and grace notify dead; try it with grace notify test"
}
