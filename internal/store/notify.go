package store

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"grace"
	"grace/internal/dbtx"
	"grace/internal/event"
)

// Receiver is how far one receiver of notifications has come, and how it fares.
type Receiver struct {
	Name   string `json:"name"`
	Cursor int64  `json:"cursor"` // id of the last event that was dealt with

	Delivered    int64          `json:"delivered"`
	Dead         int64          `json:"dead"` // messages that were given up, ever
	LastSuccess  *time.Time     `json:"last_success,omitempty"`
	FailingSince *time.Time     `json:"failing_since,omitempty"` // absent after a success
	Error        string         `json:"error,omitempty"`         // of the last attempt that failed
	Attempts     int            `json:"attempts,omitempty"`      // failed ones of the message that is next
	Retry        *time.Time     `json:"retry,omitempty"`         // no attempt before
	Wait         grace.Duration `json:"wait,omitempty"`          // how long that was when it was decided
	PassedOn     int64          `json:"passed_on,omitempty"`     // events up to here were told to others meanwhile
	New          bool           `json:"new,omitempty"`           // it has not been told yet what is open
}

// DeadLetter is what a receiver did not take.
type DeadLetter = event.DeadLetter

// OpenSubject is a question or an incident that nobody has answered or
// acknowledged, since the event that told of it.
type OpenSubject struct {
	Subject string           `json:"subject"` // run/ID or incident/ID
	Event   grace.Event      `json:"event"`
	At      time.Time        `json:"at"`
	Clocks  map[string]Clock `json:"clocks,omitempty"` // of the routes that have matched, by the route's key
	Held    bool             `json:"held,omitempty"`   // it was silenced: it is told when that ends
}

// Clock is how far a route's ladder has come, and its reminders.
type Clock struct {
	Since     time.Time      `json:"since"`               // when the route first matched
	Escalated grace.Duration `json:"escalated,omitempty"` // rungs up to this age were told
	Reminded  time.Time      `json:"reminded,omitzero"`
}

// RegisterReceiver makes a receiver's row unless there is one. A new receiver
// begins with the next event, not with the past.
func (s *Store) RegisterReceiver(ctx context.Context, name string) error {
	err := s.Do(ctx, func(ctx context.Context, tx Tx) error {
		doc, err := encode(Receiver{Name: name, New: true})
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, s.sql(`INSERT INTO grace_receivers (name, pos, doc)
			SELECT $1, event_id, $2 FROM grace_head WHERE id = 1 ON CONFLICT (name) DO NOTHING`), name, doc)
		return err
	})
	if err != nil {
		return fmt.Errorf("register receiver %s: %w", name, err)
	}
	return nil
}

// ForgetReceiver removes a receiver's row: should it come again, it begins with
// what is new then. Its dead letters stay.
func (s *Store) ForgetReceiver(ctx context.Context, name string) error {
	err := s.Do(ctx, func(ctx context.Context, tx Tx) error {
		_, err := tx.Exec(ctx, s.sql("DELETE FROM grace_receivers WHERE name = $1"), name)
		return err
	})
	if err != nil {
		return fmt.Errorf("forget receiver %s: %w", name, err)
	}
	return nil
}

const selectReceiver = "SELECT pos, doc FROM grace_receivers"

func scanReceiver(row dbtx.Row) (Receiver, error) {
	var pos int64
	var doc string
	if err := row.Scan(&pos, &doc); err != nil {
		return Receiver{}, err
	}
	r, err := decode[Receiver]([]byte(doc))
	r.Cursor = pos
	return r, err
}

// Receiver reads a receiver's row; it wraps ErrNotFound.
func (s *Store) Receiver(ctx context.Context, q Querier, name string) (Receiver, error) {
	r, err := scanReceiver(q.QueryRow(ctx, s.sql(selectReceiver+" WHERE name = $1"), name))
	if errors.Is(err, dbtx.ErrNoRows) {
		return r, fmt.Errorf("receiver %s: %w", name, ErrNotFound)
	}
	if err != nil {
		return r, fmt.Errorf("read receiver %s: %w", name, err)
	}
	return r, nil
}

// Receivers reads the rows of all receivers, by name.
func (s *Store) Receivers(ctx context.Context, q Querier) ([]Receiver, error) {
	var out []Receiver
	err := each(ctx, q, s.sql(selectReceiver+" ORDER BY name"), nil, func(row dbtx.Row) error {
		r, err := scanReceiver(row)
		out = append(out, r)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read receivers: %w", err)
	}
	return out, nil
}

// SaveReceiver writes a receiver's row; its cursor never moves back.
func (s *Store) SaveReceiver(ctx context.Context, tx Tx, r Receiver) error {
	doc, err := encode(r)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, s.sql("UPDATE grace_receivers SET pos = $1, doc = $2 WHERE name = $3 AND pos <= $4"),
		r.Cursor, doc, r.Name, r.Cursor)
	if err != nil {
		return fmt.Errorf("write receiver %s: %w", r.Name, err)
	}
	return nil
}

// CountEvents counts events with ids above after, of types as Events takes
// them.
func (s *Store) CountEvents(ctx context.Context, q Querier, after int64, patterns []string) (n int, err error) {
	var w where
	w.add("id > ?", after)
	if match, args := matchTypes(patterns); match != "" {
		w.add(match, args...)
	}
	if err := q.QueryRow(ctx, s.dialect.rewrite("SELECT count(*) FROM grace_events"+w.String()), w.args...).Scan(&n); err != nil {
		return 0, fmt.Errorf("count events: %w", err)
	}
	return n, nil
}

// Ref reads what a receiver called an earlier message of a thread, "" when
// there was none.
func (s *Store) Ref(ctx context.Context, q Querier, receiver, thread string) (string, error) {
	var ref string
	err := q.QueryRow(ctx, s.sql("SELECT ref FROM grace_notify_refs WHERE id = $1"), receiver+" "+clean(thread)).Scan(&ref)
	if errors.Is(err, dbtx.ErrNoRows) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("read the thread %s of %s: %w", thread, receiver, err)
	}
	return ref, nil
}

// SetRef keeps what a receiver calls a message.
func (s *Store) SetRef(ctx context.Context, tx Tx, receiver, thread, ref string, at time.Time) error {
	_, err := tx.Exec(ctx, s.sql(`INSERT INTO grace_notify_refs (id, at, ref) VALUES ($1, $2, $3)
		ON CONFLICT (id) DO UPDATE SET at = excluded.at, ref = excluded.ref`), receiver+" "+clean(thread), millis(at), ref)
	if err != nil {
		return fmt.Errorf("keep the thread %s of %s: %w", thread, receiver, err)
	}
	return nil
}

// DeadLetterID names the dead letter of an event at a receiver.
func DeadLetterID(receiver string, event int64) string {
	return receiver + ":" + strconv.FormatInt(event, 10)
}

// DeadLetter reads one; it wraps ErrNotFound.
func (s *Store) DeadLetter(ctx context.Context, q Querier, id string) (DeadLetter, error) {
	return docOf[DeadLetter](ctx, s, q, "dead letter "+id, "SELECT doc FROM grace_dead_letters WHERE id = $1", clean(id))
}

// DeadLetters reads a page of dead letters, newest first; of all receivers
// when none is named.
func (s *Store) DeadLetters(ctx context.Context, q Querier, receiver string, p Page) (letters []DeadLetter, next string, err error) {
	var w where
	w.equal("receiver", receiver)
	return pageOf[DeadLetter](ctx, s, q, table{"grace_dead_letters", "at"}, w, p)
}

// RetryLetters reads the oldest dead letters of a receiver that are to be sent
// again.
func (s *Store) RetryLetters(ctx context.Context, q Querier, receiver string, limit int) ([]DeadLetter, error) {
	return docsOf[DeadLetter](ctx, s, q, "dead letters", `SELECT doc FROM grace_dead_letters
		WHERE receiver = $1 AND retry = 1 ORDER BY at, id LIMIT $2`, receiver, limit)
}

// WaitingLetters reads the oldest dead letters that nobody asked to be sent
// again.
func (s *Store) WaitingLetters(ctx context.Context, q Querier, limit int) ([]DeadLetter, error) {
	return docsOf[DeadLetter](ctx, s, q, "dead letters", `SELECT doc FROM grace_dead_letters
		WHERE retry = 0 ORDER BY at, id LIMIT $1`, limit)
}

// CountDeadLetters counts them by receiver.
func (s *Store) CountDeadLetters(ctx context.Context, q Querier) (map[string]int, error) {
	out := map[string]int{}
	err := each(ctx, q, s.sql("SELECT receiver, count(*) FROM grace_dead_letters GROUP BY receiver"), nil, func(row dbtx.Row) error {
		var name string
		var n int
		if err := row.Scan(&name, &n); err != nil {
			return err
		}
		out[name] = n
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("count dead letters: %w", err)
	}
	return out, nil
}

// PutSubject writes an open subject.
func (s *Store) PutSubject(ctx context.Context, tx Tx, o OpenSubject) error {
	doc, err := encode(o)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, s.sql(`INSERT INTO grace_notify_open (id, at, doc) VALUES ($1, $2, $3)
		ON CONFLICT (id) DO UPDATE SET doc = excluded.doc`), clean(o.Subject), millis(o.At), doc)
	if err != nil {
		return fmt.Errorf("write the open subject %s: %w", o.Subject, err)
	}
	return nil
}

// DropSubject removes a subject that was answered, acknowledged or resolved.
func (s *Store) DropSubject(ctx context.Context, tx Tx, subject string) error {
	if _, err := tx.Exec(ctx, s.sql("DELETE FROM grace_notify_open WHERE id = $1"), clean(subject)); err != nil {
		return fmt.Errorf("remove the open subject %s: %w", subject, err)
	}
	return nil
}

// Subject reads an open subject; it wraps ErrNotFound.
func (s *Store) Subject(ctx context.Context, q Querier, subject string) (OpenSubject, error) {
	return docOf[OpenSubject](ctx, s, q, "open subject "+subject, "SELECT doc FROM grace_notify_open WHERE id = $1", clean(subject))
}

// OpenSubjects reads open subjects in the order of their names, those behind
// after.
func (s *Store) OpenSubjects(ctx context.Context, q Querier, after string, limit int) ([]OpenSubject, error) {
	return docsOf[OpenSubject](ctx, s, q, "open subjects", "SELECT doc FROM grace_notify_open WHERE id > $1 ORDER BY id LIMIT $2",
		after, limit)
}
