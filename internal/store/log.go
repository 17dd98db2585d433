package store

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
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

// writeLog sends what is to be written before, and appends audit entries and events. The
// head row's lock, taken here and held until commit, makes their order the order of
// commits.
func (s *Store) writeLog(ctx context.Context, tx Tx, b *batch, r *event.Rows) error {
	var h head
	var seal string
	seen := s.newest.Load()
	b.add(statement{
		text: s.sql("SELECT seq, hash, event_id, seal FROM grace_head WHERE id = 1 /*lock*/"),
		into: []any{&h.seq, &h.hash, &h.eventID, &seal},
	})
	if err := b.send(ctx, tx); err != nil {
		return err
	}
	if err := s.checkHead(seen, h.seq, h.hash, seal); err != nil {
		return fmt.Errorf("write %s: %w", b.part, err)
	}
	entries := s.auditRows(&h, r.Audit)
	events := s.eventRows(&h, r.Outbox)
	if s.Postgres() {
		s.appendPostgres(b, h, entries, events)
	} else {
		s.appendSQLite(b, h, entries, events)
	}
	return b.send(ctx, tx)
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

func (s *Store) appendSQLite(b *batch, h head, entries, events []any) {
	b.insert(s.inserts.audit, entries, 0)
	b.insert(s.inserts.events, events, 0)
	b.exec("", "UPDATE grace_head SET seq = $1, hash = $2, event_id = $3, seal = $4 WHERE id = 1",
		h.seq, h.hash, h.eventID, s.sealHead(h.seq, h.hash))
}

// insert adds statements of at most maxRows rows, until no more than some are left.
func (b *batch) insert(in *insert, rows []any, leave int) (left []any) {
	width := len(in.columns)
	for len(rows) > leave*width {
		n := min(len(rows)/width, maxRows)
		b.add(statement{text: in.text(b.dialect, n), args: rows[:n*width]})
		rows = rows[n*width:]
	}
	return rows
}

// headWriter keeps the texts of appendPostgres by the number of rows.
type headWriter struct {
	mu    sync.Mutex
	texts map[[2]int]string
}

// appendPostgres appends in one statement, since every round trip to the
// server lengthens the time that other writers wait, and a transaction of the engine
// sends no batches. What exceeds maxRows of either goes ahead in statements of its own.
func (s *Store) appendPostgres(b *batch, h head, entries, events []any) {
	entries = b.insert(s.inserts.audit, entries, maxRows)
	events = b.insert(s.inserts.events, events, maxRows)
	args := make([]any, 0, len(entries)+len(events)+4)
	args = append(args, entries...)
	args = append(args, events...)
	args = append(args, h.seq, h.hash, h.eventID, s.sealHead(h.seq, h.hash))
	b.add(statement{
		text: s.head.text(s.dialect, &s.inserts, len(entries)/len(s.inserts.audit.columns), len(events)/len(s.inserts.events.columns)),
		args: args,
	})
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
