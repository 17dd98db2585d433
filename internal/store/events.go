package store

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"grace"
	"grace/internal/dbtx"
)

// Events reads at most limit events with ids above after, in their order.
// Patterns select types as the mesh does: an exact name, "prefix.*" or "*";
// none select all.
func (s *Store) Events(ctx context.Context, q Querier, after int64, patterns []string, limit int) ([]grace.Event, error) {
	var w where
	w.add("id > ?", after)
	if match, args := matchTypes(patterns); match != "" {
		w.add(match, args...)
	}
	text := "SELECT id, at, type, source, actor, resource, payload FROM grace_events" + w.String() +
		" ORDER BY id LIMIT " + strconv.Itoa(limit)
	var events []grace.Event
	err := each(ctx, q, s.dialect.rewrite(text), w.args, func(row dbtx.Row) error {
		var e grace.Event
		var at int64
		var payload *string
		if err := row.Scan(&e.ID, &at, &e.Type, &e.Source, &e.Actor, &e.Resource, &payload); err != nil {
			return err
		}
		e.Timestamp, e.Payload = fromMillis(at), rawJSON(payload)
		events = append(events, e)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read events: %w", err)
	}
	return events, nil
}

// matchTypes gives the condition for patterns, "" when all types match. LIKE
// would not do: on SQLite it takes upper and lower case for the same.
func matchTypes(patterns []string) (condition string, args []any) {
	var parts []string
	for _, p := range patterns {
		p = clean(p)
		switch prefix, isPrefix := strings.CutSuffix(p, "*"); {
		case p == "*":
			return "", nil
		case isPrefix && strings.HasSuffix(prefix, "."):
			parts = append(parts, "substr(type, 1, "+strconv.Itoa(utf8.RuneCountInString(prefix))+") = ?")
			args = append(args, prefix)
		default:
			parts = append(parts, "type = ?")
			args = append(args, p)
		}
	}
	if len(parts) == 0 {
		return "", nil
	}
	return "(" + strings.Join(parts, " OR ") + ")", args
}

func rawJSON(text *string) json.RawMessage {
	if text == nil {
		return nil
	}
	return json.RawMessage(*text)
}

// LastEventID gives the id of the newest event, 0 when there was none. It
// counts events that retention has removed.
func (s *Store) LastEventID(ctx context.Context, q Querier) (int64, error) {
	var id int64
	if err := q.QueryRow(ctx, s.sql("SELECT event_id FROM grace_head WHERE id = 1")).Scan(&id); err != nil {
		return 0, fmt.Errorf("read the last event's id: %w", err)
	}
	return id, nil
}
