package store

import (
	"container/list"
	"context"
	"database/sql/driver"
	"strings"
	"time"
)

// The engine and we send the same few dozen statements over and over, as text
// (neither Tx has prepared statements), and SQLite would parse each anew: that
// is most of the time a small statement takes. cachingConnector's connections
// therefore keep the statements they have prepared.
//
// They also queue writers of this process at a gate, first come, first
// served. SQLite itself has waiting writers sleep and try again, for up to 100
// ms at a time and in no order.
//
// Third, they tell when a transaction that added events has committed,
// whoever owned it: see Store.Wake. Last, they mark what is an Outage.
type cachingConnector struct {
	driver.Connector
	gate chan struct{}
	wake func()
}

// maxStatements a connection keeps. The engine and the store together have
// about 150; what is used least goes first.
const maxStatements = 256

func newCachingConnector(c driver.Connector, wake func()) *cachingConnector {
	return &cachingConnector{Connector: c, gate: make(chan struct{}, 1), wake: wake}
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
	conn, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	full, ok := conn.(fullConn)
	if !ok {
		return conn, nil // slower, and right all the same
	}
	return &cachingConn{fullConn: full, owner: c, statements: map[string]*list.Element{}, order: list.New()}, nil
}

// cachingConn is used by one goroutine at a time, as database/sql promises.
type cachingConn struct {
	fullConn
	owner      *cachingConnector
	statements map[string]*list.Element // of *cachedStmt
	order      *list.List               // newest use in front

	inTx      bool
	gated     bool
	newEvents bool // within the open transaction
}

type cachedStmt struct {
	text string
	stmt fullStmt
	busy bool // its rows are still being read
}

// Unwrap gives the driver's own connection, as the driver asks of wrappers.
func (c *cachingConn) Unwrap() driver.Conn { return c.fullConn }

// Close closes the kept statements and the connection.
func (c *cachingConn) Close() error {
	for e := c.order.Front(); e != nil; e = e.Next() {
		_ = e.Value.(*cachedStmt).stmt.Close()
	}
	c.statements, c.order = map[string]*list.Element{}, list.New()
	c.leave()
	return c.fullConn.Close()
}

// enter waits for the gate as long as SQLite would wait for its lock, and then
// goes on without: SQLite decides, and a transaction that was forgotten fails
// its successors instead of hanging them.
func (c *cachingConn) enter(ctx context.Context) error {
	select {
	case c.owner.gate <- struct{}{}:
		c.gated = true
		return nil
	default:
	}
	timer := time.NewTimer(sqliteBusyTimeout)
	defer timer.Stop()
	select {
	case c.owner.gate <- struct{}{}:
		c.gated = true
	case <-timer.C:
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

func (c *cachingConn) leave() {
	if c.gated {
		c.gated = false
		<-c.owner.gate
	}
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
	t.c.inTx = false
	t.c.leave()
	if err == nil && t.c.newEvents {
		t.c.owner.wake()
	}
	return sqliteOutage(err)
}

// Rollback rolls back, then lets the next writer in.
func (t *cachingTx) Rollback() error {
	err := t.tx.Rollback()
	t.c.inTx = false
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
func (c *cachingConn) prepared(ctx context.Context, query string) (*cachedStmt, error) {
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

func (c *cachingConn) evict() {
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
