package store

import (
	"container/list"
	"context"
	"database/sql/driver"
	"errors"
	"strings"
	"sync/atomic"
	"time"
)

// The engine and we send the same few dozen statements over and over, as text
// (neither Tx has prepared statements), and SQLite would parse each anew: that
// is most of the time a small statement takes. cachingConnector's connections
// therefore keep the statements they have prepared.
//
// They also queue writers of this process at a gate, first come, first
// served. SQLite itself has waiting writers sleep and try again, for up to 100
// ms at a time and in no order. All of them write through the one connection that
// passes through the gate: whenever another connection has written, SQLite forgets
// all pages that a connection has cached, and reads what it changes anew.
//
// Third, they tell when a transaction that added events has committed,
// whoever owned it: see Store.Wake. Last, they mark what is an Outage.
type cachingConnector struct {
	driver.Connector
	gate   chan *sqliteConn // holds the writer while nobody writes; nil until somebody has
	shared bool             // there is one writer; else everybody writes by himself
	closed atomic.Bool
	wake   func()
}

// maxStatements a connection keeps. The engine and the store together have
// about 150; what is used least goes first.
const maxStatements = 256

func newCachingConnector(c driver.Connector, shared bool, wake func()) *cachingConnector {
	gate := make(chan *sqliteConn, 1)
	gate <- nil
	return &cachingConnector{Connector: c, gate: gate, shared: shared, wake: wake}
}

// Close closes the writer, after the other connections. A transaction that goes on then
// closes it when it ends.
func (c *cachingConnector) Close() error {
	c.closed.Store(true)
	select {
	case w := <-c.gate:
		c.gate <- nil
		if w != nil {
			return w.Close()
		}
	default:
	}
	return nil
}

// fullConn is every optional interface the driver's connections have, and
// that a wrapper must pass on.
type fullConn interface {
	driver.Conn
	driver.ConnBeginTx
	driver.ConnPrepareContext
	driver.ExecerContext
	driver.QueryerContext
	driver.Pinger
	driver.SessionResetter
	driver.Validator
}

type fullStmt interface {
	driver.Stmt
	driver.StmtExecContext
	driver.StmtQueryContext
}

// Connect opens a connection and wraps it.
func (c *cachingConnector) Connect(ctx context.Context) (driver.Conn, error) {
	own, err := c.open(ctx)
	if err != nil {
		return nil, err
	}
	return &cachingConn{sqliteConn: own, own: own, owner: c}, nil
}

func (c *cachingConnector) open(ctx context.Context) (*sqliteConn, error) {
	conn, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	full, ok := conn.(fullConn)
	if !ok {
		return nil, errors.Join(errors.New("the driver's connections lack what they are wrapped for"), conn.Close())
	}
	return &sqliteConn{fullConn: full, statements: map[string]*list.Element{}, order: list.New()}, nil
}

// sqliteConn is a connection of the driver with the statements that it has prepared.
type sqliteConn struct {
	fullConn
	statements map[string]*list.Element // of *cachedStmt
	order      *list.List               // newest use in front
}

type cachedStmt struct {
	text string
	stmt fullStmt
	busy bool // its rows are still being read
}

// Close closes the kept statements and the connection.
func (c *sqliteConn) Close() error {
	for e := c.order.Front(); e != nil; e = e.Next() {
		_ = e.Value.(*cachedStmt).stmt.Close()
	}
	c.statements, c.order = map[string]*list.Element{}, list.New()
	return c.fullConn.Close()
}

// cachingConn is used by one goroutine at a time, as database/sql promises.
type cachingConn struct {
	*sqliteConn // in use: its own or, behind the gate, the writer

	own   *sqliteConn
	owner *cachingConnector

	inTx      bool
	gated     bool
	broken    bool // how the writer's transaction ended is not known
	newEvents bool // within the open transaction
}

// Unwrap gives the driver's own connection, as the driver asks of wrappers.
func (c *cachingConn) Unwrap() driver.Conn { return c.fullConn }

// Close closes the connection.
func (c *cachingConn) Close() error {
	c.broken = c.inTx
	c.leave()
	return c.own.Close()
}

// enter waits for the gate as long as SQLite would wait for its lock, and then
// goes on without: SQLite decides, and a transaction that was forgotten fails
// its successors instead of hanging them.
func (c *cachingConn) enter(ctx context.Context) error {
	select {
	case w := <-c.owner.gate:
		return c.take(ctx, w)
	default:
	}
	timer := time.NewTimer(sqliteBusyTimeout)
	defer timer.Stop()
	select {
	case w := <-c.owner.gate:
		return c.take(ctx, w)
	case <-timer.C:
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

// take takes the writer, which the first one opens.
func (c *cachingConn) take(ctx context.Context, w *sqliteConn) (err error) {
	c.gated, c.broken = true, false
	if w == nil && c.owner.shared {
		if w, err = c.owner.open(ctx); err != nil {
			c.leave()
			return err
		}
	}
	if w != nil {
		c.sqliteConn = w
	}
	return nil
}

// leave gives the writer to the next one. A broken one is closed, which ends its
// transaction.
func (c *cachingConn) leave() {
	if !c.gated {
		return
	}
	w := c.sqliteConn
	switch {
	case w == c.own:
		w = nil
	case c.broken || !w.IsValid() || c.owner.closed.Load():
		_ = w.Close()
		w = nil
	}
	c.gated, c.broken, c.sqliteConn = false, false, c.own
	c.owner.gate <- w
}

// BeginTx begins a transaction behind the gate, unless it only reads.
func (c *cachingConn) BeginTx(ctx context.Context, opts driver.TxOptions) (driver.Tx, error) {
	if !opts.ReadOnly {
		if err := c.enter(ctx); err != nil {
			return nil, err
		}
	}
	tx, err := c.fullConn.BeginTx(ctx, opts)
	if err != nil {
		c.broken = !sqliteRetryable(err)
		c.leave()
		return nil, sqliteOutage(err)
	}
	c.inTx, c.newEvents = true, false
	return &cachingTx{tx: tx, c: c}, nil
}

type cachingTx struct {
	tx driver.Tx
	c  *cachingConn
}

// Commit commits, then lets the next writer in and wakes who waits for events.
func (t *cachingTx) Commit() error {
	err := t.tx.Commit()
	t.c.inTx, t.c.broken = false, err != nil
	t.c.leave()
	if err == nil && t.c.newEvents {
		t.c.owner.wake()
	}
	return sqliteOutage(err)
}

// Rollback rolls back, then lets the next writer in.
func (t *cachingTx) Rollback() error {
	err := t.tx.Rollback()
	t.c.inTx, t.c.broken = false, err != nil
	t.c.leave()
	return err
}

// ExecContext runs a statement from the cache.
func (c *cachingConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	if c.inTx {
		c.newEvents = c.newEvents || strings.HasPrefix(query, insertEventsPrefix)
	} else {
		if err := c.enter(ctx); err != nil {
			return nil, err
		}
		defer c.leave()
	}
	s, err := c.prepared(ctx, query)
	if err != nil {
		return nil, sqliteOutage(err)
	}
	var result driver.Result
	if s == nil {
		result, err = c.fullConn.ExecContext(ctx, query, args)
	} else {
		result, err = s.stmt.ExecContext(ctx, args)
	}
	return result, sqliteOutage(err)
}

// QueryContext runs a query from the cache.
func (c *cachingConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	s, err := c.prepared(ctx, query)
	if err != nil {
		return nil, sqliteOutage(err)
	}
	if s == nil {
		rows, err := c.fullConn.QueryContext(ctx, query, args)
		return rows, sqliteOutage(err)
	}
	rows, err := s.stmt.QueryContext(ctx, args)
	if err != nil {
		return nil, sqliteOutage(err)
	}
	s.busy = true
	return &cachedRows{Rows: rows, s: s}, nil
}

// cachedRows gives its statement free when it is closed.
type cachedRows struct {
	driver.Rows
	s *cachedStmt
}

// Next reads a row.
func (r *cachedRows) Next(dest []driver.Value) error { return sqliteOutage(r.Rows.Next(dest)) }

func (r *cachedRows) Close() error {
	err := r.Rows.Close()
	r.s.busy = false
	return err
}

// prepared gives the kept statement for a text, nil where the text is better
// not kept: its statement is in use, or it may be more than one statement.
func (c *sqliteConn) prepared(ctx context.Context, query string) (*cachedStmt, error) {
	if e, ok := c.statements[query]; ok {
		s := e.Value.(*cachedStmt)
		if s.busy {
			return nil, nil //nolint:nilnil // documented
		}
		c.order.MoveToFront(e)
		return s, nil
	}
	if !cacheable(query) {
		return nil, nil //nolint:nilnil // documented
	}
	stmt, err := c.PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	full, ok := stmt.(fullStmt)
	if !ok {
		return nil, stmt.Close()
	}
	c.evict()
	s := &cachedStmt{text: query, stmt: full}
	c.statements[query] = c.order.PushFront(s)
	return s, nil
}

func (c *sqliteConn) evict() {
	for e := c.order.Back(); e != nil && c.order.Len() >= maxStatements; {
		s, prev := e.Value.(*cachedStmt), e.Prev()
		if !s.busy {
			_ = s.stmt.Close()
			delete(c.statements, s.text)
			c.order.Remove(e)
		}
		e = prev
	}
}

// cacheable tells data statements from scripts, pragmas and definitions. A
// script with a semicolon inside a text literal is not kept either, which only
// costs time.
func cacheable(query string) bool {
	text := strings.TrimSpace(query)
	if i := strings.IndexByte(text, ';'); i >= 0 && i < len(text)-1 {
		return false
	}
	end := strings.IndexAny(text, " \t\r\n")
	if end < 0 {
		return false
	}
	switch strings.ToUpper(text[:end]) {
	case "SELECT", "INSERT", "UPDATE", "DELETE", "WITH":
		return true
	}
	return false
}
