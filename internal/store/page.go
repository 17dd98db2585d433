package store

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"grace/internal/dbtx"
)

// Page sizes.
const (
	DefaultLimit = 50
	MaxLimit     = 200
)

// Page asks for a part of a list, newest first. The zero Page is the first
// one of DefaultLimit rows.
type Page struct {
	Cursor string // of the page before, "" for the first
	Limit  int    // at most MaxLimit
}

func (p Page) limit() int {
	if p.Limit <= 0 {
		return DefaultLimit
	}
	return min(p.Limit, MaxLimit)
}

// position is where a page ended: the time and id of its last row.
type position struct {
	at int64
	id string
}

func (p position) encode() string {
	return base64.RawURLEncoding.EncodeToString([]byte(strconv.FormatInt(p.at, 10) + ":" + p.id))
}

func decodePosition(cursor string) (position, error) {
	b, err := base64.RawURLEncoding.DecodeString(cursor)
	if err != nil {
		return position{}, fmt.Errorf("%w %q: take it from the page before as it is", ErrBadCursor, cursor)
	}
	at, id, ok := strings.Cut(string(b), ":")
	ms, err := strconv.ParseInt(at, 10, 64)
	if err != nil || !ok {
		return position{}, fmt.Errorf("%w %q: take it from the page before as it is", ErrBadCursor, cursor)
	}
	return position{ms, clean(id)}, nil
}

// where collects conditions and their arguments.
type where struct {
	conditions []string
	args       []any
}

// add adds a condition whose every ? stands for the next of args.
func (w *where) add(condition string, args ...any) {
	for _, a := range args {
		w.args = append(w.args, a)
		condition = strings.Replace(condition, "?", "$"+strconv.Itoa(len(w.args)), 1)
	}
	w.conditions = append(w.conditions, condition)
}

// equal adds "column = value" unless the value is empty.
func (w *where) equal(column, value string) {
	if value != "" {
		w.add(column+" = ?", clean(value))
	}
}

// between adds from <= column < to, each unless it is zero.
func (w *where) between(column string, from, to time.Time) {
	if !from.IsZero() {
		w.add(column+" >= ?", millis(from))
	}
	if !to.IsZero() {
		w.add(column+" < ?", millis(to))
	}
}

func (w *where) String() string {
	if len(w.conditions) == 0 {
		return ""
	}
	return " WHERE " + strings.Join(w.conditions, " AND ")
}

// table of documents: which column holds the time that its pages go by. The id
// column is id.
type table struct {
	name string
	at   string
}

// pageOf reads one page of documents.
func pageOf[T any](ctx context.Context, s *Store, q Querier, t table, w where, p Page) (items []T, next string, err error) {
	if p.Cursor != "" {
		after, err := decodePosition(p.Cursor)
		if err != nil {
			return nil, "", err
		}
		w.add("("+t.at+", id) < (?, ?)", after.at, after.id)
	}
	limit := p.limit()
	// One more than asked tells whether there is a next page.
	text := "SELECT " + t.at + ", id, doc FROM " + t.name + w.String() +
		" ORDER BY " + t.at + " DESC, id DESC LIMIT " + strconv.Itoa(limit+1)
	var ends []position
	err = each(ctx, q, s.dialect.rewrite(text), w.args, func(row dbtx.Row) error {
		var end position
		var doc []byte
		if err := row.Scan(&end.at, &end.id, &doc); err != nil {
			return err
		}
		item, err := decompressed[T](s, doc)
		if err != nil {
			return fmt.Errorf("row %s: %w", end.id, err)
		}
		items, ends = append(items, item), append(ends, end)
		return nil
	})
	if err != nil {
		return nil, "", fmt.Errorf("read %s: %w", t.name, err)
	}
	if len(items) > limit {
		items, next = items[:limit], ends[limit-1].encode()
	}
	return items, next, nil
}

// docsOf reads all documents that a query gives in its one column.
func docsOf[T any](ctx context.Context, s *Store, q Querier, what, text string, args ...any) ([]T, error) {
	var items []T
	err := each(ctx, q, s.sql(text), args, func(row dbtx.Row) error {
		var doc []byte
		if err := row.Scan(&doc); err != nil {
			return err
		}
		item, err := decompressed[T](s, doc)
		items = append(items, item)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", what, err)
	}
	return items, nil
}

// docOf reads one document, or ErrNotFound.
func docOf[T any](ctx context.Context, s *Store, q Querier, what, text string, args ...any) (T, error) {
	var doc []byte
	var zero T
	err := q.QueryRow(ctx, s.sql(text), args...).Scan(&doc)
	if errors.Is(err, dbtx.ErrNoRows) {
		return zero, fmt.Errorf("%s: %w", what, ErrNotFound)
	}
	if err != nil {
		return zero, fmt.Errorf("read %s: %w", what, err)
	}
	item, err := decompressed[T](s, doc)
	if err != nil {
		return zero, fmt.Errorf("read %s: %w", what, err)
	}
	return item, nil
}

// each runs a query and calls fn for every row.
func each(ctx context.Context, q Querier, text string, args []any, fn func(dbtx.Row) error) (err error) {
	rows, err := q.Query(ctx, text, args...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		if err := fn(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

func decode[T any](doc []byte) (T, error) {
	var v T
	err := json.Unmarshal(doc, &v)
	return v, err
}

// decompressed reads a document that may be compressed.
func decompressed[T any](s *Store, doc []byte) (item T, err error) {
	if doc, err = s.compressor.decompress(doc); err != nil {
		return item, err
	}
	return decode[T](doc)
}
