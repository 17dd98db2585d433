package store

import (
	"slices"
	"strconv"
	"strings"
	"sync"
)

// dialect rewrites SQL written for SQLite into PostgreSQL's:
//
//   - a table grace_x is grace.x, in the schema grace;
//   - the comment /*lock*/ is FOR UPDATE (SQLite writers are serial anyway);
//   - INTEGER PRIMARY KEY, SQLite's row id, is BIGINT PRIMARY KEY.
//
// Every text is rewritten once and kept; texts are constants or come in few
// variants, so the cache is bounded by the source.
type dialect struct {
	postgres bool
	texts    *sync.Map // string -> string
}

func newDialect(postgres bool) dialect { return dialect{postgres: postgres, texts: &sync.Map{}} }

func (d dialect) sql(text string) string {
	if !d.postgres {
		return text
	}
	if t, ok := d.texts.Load(text); ok {
		return t.(string)
	}
	t := d.rewrite(text)
	d.texts.Store(text, t)
	return t
}

func (d dialect) rewrite(text string) string {
	if !d.postgres {
		return text
	}
	return strings.NewReplacer(
		"grace_", "grace.",
		"/*lock*/", "FOR UPDATE",
		"INTEGER PRIMARY KEY", "BIGINT PRIMARY KEY",
	).Replace(text)
}

// insert is an INSERT of any number of rows.
type insert struct {
	table   string   // grace_x
	columns []string // the first keys of them are the key
	keys    int
	replace bool   // an existing row is replaced, not an error
	unless  string // a condition on excluded under which it is left as it is
	// fixed are columns that an existing row has right already. SQLite writes every index
	// of a column that is set, also to what it was.
	fixed []string

	mu    sync.Mutex
	texts [maxRows + 1]string
}

// maxRows of one INSERT: SQLite and PostgreSQL both bound the parameters.
const maxRows = 32

// text gives the statement for n rows.
func (in *insert) text(d dialect, n int) string {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.texts[n] == "" {
		var b strings.Builder
		b.WriteString("INSERT INTO " + in.table + " (" + strings.Join(in.columns, ", ") + ") VALUES ")
		writeRows(&b, n, len(in.columns), 1)
		if in.replace {
			b.WriteString(" ON CONFLICT (" + strings.Join(in.columns[:in.keys], ", ") + ") DO UPDATE SET ")
			separator := ""
			for _, c := range in.columns[in.keys:] {
				if !slices.Contains(in.fixed, c) {
					b.WriteString(separator + c + " = excluded." + c)
					separator = ", "
				}
			}
			if in.unless != "" {
				b.WriteString(" WHERE NOT (" + in.unless + ")")
			}
		}
		in.texts[n] = d.rewrite(b.String())
	}
	return in.texts[n]
}

// writeRows writes n rows of parameters, numbered from first.
func writeRows(b *strings.Builder, n, columns, first int) {
	for r := range n {
		if r > 0 {
			b.WriteString(", ")
		}
		for c := range columns {
			b.WriteByte("(,"[min(c, 1)])
			b.WriteByte('$')
			b.WriteString(strconv.Itoa(first + r*columns + c))
		}
		b.WriteByte(')')
	}
}

// write adds the statements that insert items; row gives the values of one, keys first. Of items with
// the same key the last counts, which PostgreSQL would refuse to decide.
func write[T any](b *batch, in *insert, items []T, row func(T) ([]any, error)) error {
	width := len(in.columns)
	for len(items) > 0 {
		n := min(len(items), maxRows)
		args := make([]any, 0, n*width)
		for _, item := range items[:n] {
			values, err := row(item)
			if err != nil {
				return err
			}
			for i := range values {
				if text, ok := values[i].(string); ok {
					values[i] = clean(text)
				}
			}
			if at := in.find(args, values); at >= 0 {
				copy(args[at:], values)
			} else {
				args = append(args, values...)
			}
		}
		b.add(statement{text: in.text(b.dialect, len(args)/width), args: args})
		items = items[n:]
	}
	return nil
}

// find gives where in args a row with the same key begins, or -1. A table that numbers
// its rows itself has none.
func (in *insert) find(args, values []any) int {
	if in.keys == 0 {
		return -1
	}
	for at := 0; at < len(args); at += len(in.columns) {
		same := true
		for k := range in.keys {
			same = same && args[at+k] == values[k]
		}
		if same {
			return at
		}
	}
	return -1
}
