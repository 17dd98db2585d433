package store

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"strconv"
	"strings"
	"sync"

	"grace"
	"grace/internal/audit"
	"grace/internal/event"
)

// insertEventsPrefix is how the text of every statement that adds events on
// SQLite begins; the connection looks for it.
const insertEventsPrefix = "INSERT INTO grace_events "

// head is where the audit chain and the events end.
type head struct {
	seq     int64
	hash    string
	eventID int64
}

// writeLog appends audit entries and events. The head row's lock, taken here
// and held until commit, makes their order the order of commits.
func (s *Store) writeLog(ctx context.Context, tx Tx, r *event.Rows) error {
	var h head
	var seal string
	seen := s.newest.Load()
	err := tx.QueryRow(ctx, s.sql("SELECT seq, hash, event_id, seal FROM grace_head WHERE id = 1 /*lock*/")).
		Scan(&h.seq, &h.hash, &h.eventID, &seal)
	if err != nil {
		return err
	}
	if err := s.checkHead(seen, h.seq, h.hash, seal); err != nil {
		return err
	}
	entries := s.auditRows(&h, r.Audit)
	events := s.eventRows(&h, r.Outbox)
	if s.Postgres() {
		return s.appendPostgres(ctx, tx, h, entries, events)
	}
	return s.appendSQLite(ctx, tx, h, entries, events)
}

func (s *Store) auditRows(h *head, entries []grace.AuditEntry) []any {
	rows := make([]any, 0, len(entries)*len(s.inserts.audit.columns))
	for _, e := range entries {
		h.seq++
		e.Seq = h.seq
		if e.At.IsZero() {
			e.At = s.now()
		}
		e.Actor, e.Action, e.Object = clean(e.Actor), clean(e.Action), clean(e.Object)
		e.Service, e.Reason = grace.ServiceID(clean(string(e.Service))), clean(e.Reason)
		e = audit.Link(s.key, h.hash, e)
		h.hash = e.Hash
		leaf := audit.Leaf(e)
		rows = append(rows, e.Seq, millis(e.At), e.Actor, e.Action, e.Object, string(e.Service), e.Reason,
			optionalJSON(e.Detail), hex.EncodeToString(leaf[:]), e.PrevHash, e.Hash)
	}
	return rows
}

func (s *Store) eventRows(h *head, events []grace.Event) []any {
	rows := make([]any, 0, len(events)*len(s.inserts.events.columns))
	for _, e := range events {
		h.eventID++
		if e.Timestamp.IsZero() {
			e.Timestamp = s.now()
		}
		rows = append(rows, h.eventID, millis(e.Timestamp), clean(e.Type), clean(e.Source), clean(e.Actor),
			clean(e.Resource), optionalJSON(e.Payload))
	}
	return rows
}

func optionalJSON(raw json.RawMessage) *string {
	if len(raw) == 0 {
		return nil
	}
	text := clean(string(raw))
	return &text
}

func (s *Store) appendSQLite(ctx context.Context, tx Tx, h head, entries, events []any) error {
	for _, part := range []struct {
		in   *insert
		rows []any
	}{{s.inserts.audit, entries}, {s.inserts.events, events}} {
		width := len(part.in.columns)
		for rows := part.rows; len(rows) > 0; {
			n := min(len(rows)/width, maxRows)
			if _, err := tx.Exec(ctx, part.in.text(s.dialect, n), rows[:n*width]...); err != nil {
				return err
			}
			rows = rows[n*width:]
		}
	}
	_, err := tx.Exec(ctx, "UPDATE grace_head SET seq = $1, hash = $2, event_id = $3, seal = $4 WHERE id = 1",
		h.seq, h.hash, h.eventID, s.sealHead(h.seq, h.hash))
	return err
}

// headWriter keeps the texts of appendPostgres by the number of rows.
type headWriter struct {
	mu    sync.Mutex
	texts map[[2]int]string
}

// appendPostgres appends in one statement, since every round trip to the
// server lengthens the time that other writers wait. What exceeds maxRows of
// either goes ahead in statements of its own.
func (s *Store) appendPostgres(ctx context.Context, tx Tx, h head, entries, events []any) error {
	entries, err := s.appendAhead(ctx, tx, s.inserts.audit, entries)
	if err != nil {
		return err
	}
	events, err = s.appendAhead(ctx, tx, s.inserts.events, events)
	if err != nil {
		return err
	}
	text := s.head.text(s.dialect, &s.inserts, len(entries)/len(s.inserts.audit.columns), len(events)/len(s.inserts.events.columns))
	args := make([]any, 0, len(entries)+len(events)+4)
	args = append(args, entries...)
	args = append(args, events...)
	args = append(args, h.seq, h.hash, h.eventID, s.sealHead(h.seq, h.hash))
	_, err = tx.Exec(ctx, text, args...)
	return err
}

// appendAhead leaves between 1 and maxRows rows, unless there were none.
func (s *Store) appendAhead(ctx context.Context, tx Tx, in *insert, rows []any) (rest []any, err error) {
	for size := maxRows * len(in.columns); len(rows) > size; rows = rows[size:] {
		if _, err := tx.Exec(ctx, in.text(s.dialect, maxRows), rows[:size]...); err != nil {
			return nil, err
		}
	}
	return rows, nil
}

func (w *headWriter) text(d dialect, in *inserts, entries, events int) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	key := [2]int{entries, events}
	if text, ok := w.texts[key]; ok {
		return text
	}
	var b strings.Builder
	next := 1
	add := func(name string, in *insert, n int) {
		if n == 0 {
			return
		}
		b.WriteString([]string{"WITH ", ", "}[min(next-1, 1)] + name + " AS (INSERT INTO " + in.table +
			" (" + strings.Join(in.columns, ", ") + ") VALUES ")
		writeRows(&b, n, len(in.columns), next)
		b.WriteString(") ")
		next += n * len(in.columns)
	}
	add("a", in.audit, entries)
	add("e", in.events, events)
	b.WriteString("UPDATE grace_head SET seq = $" + strconv.Itoa(next) + ", hash = $" + strconv.Itoa(next+1) +
		", event_id = $" + strconv.Itoa(next+2) + ", seal = $" + strconv.Itoa(next+3) + " WHERE id = 1")
	if w.texts == nil {
		w.texts = map[[2]int]string{}
	}
	text := d.rewrite(b.String())
	if events > 0 {
		text += " RETURNING pg_notify('" + eventsChannel + "', '')" // sent on commit
	}
	w.texts[key] = text
	return text
}
