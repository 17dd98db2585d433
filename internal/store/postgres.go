package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// postgresConns is the size of the pool unless the URL sets pool_max_conns.
// The engine shares it: its listener, pollers and every open step's
// transaction take from it.
const postgresConns = 16

// A replica that stands still, or whose host lost its power, in a transaction
// would keep its locks, among them the one that all writers need, for as long
// as the server believes in its connection.
const (
	idleInTransaction       = "idle_in_transaction_session_timeout"
	idleInTransactionMillis = "5000"
)

func openPostgres(ctx context.Context, url string) (*pgxpool.Pool, error) {
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("read the database URL: %w", err) // pgx hides the password
	}
	if !strings.Contains(url, "pool_max_conns") {
		config.MaxConns = postgresConns
	}
	if _, set := config.ConnConfig.RuntimeParams[idleInTransaction]; !set {
		config.ConnConfig.RuntimeParams[idleInTransaction] = idleInTransactionMillis
	}
	dial := config.ConnConfig.DialFunc
	config.ConnConfig.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return eofWrapper{c}, nil
	}
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("connect to PostgreSQL: %w", err)
	}
	if err := pool.Ping(ctx); err != nil {
		pool.Close()
		return nil, fmt.Errorf("connect to PostgreSQL: %w; is the server running, and do host, database, user and password match", err)
	}
	return pool, nil
}

// eofWrapper is a connection whose end is an error of the network. A server that
// goes down without a word ends the stream, which the driver reports as a
// short message; the engine would take that for a run's own failure and give
// the run up instead of trying again.
type eofWrapper struct{ net.Conn }

var errSevered = errors.New("the server closed the connection")

func (c eofWrapper) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if errors.Is(err, io.EOF) {
		err = &net.OpError{Op: "read", Net: c.RemoteAddr().Network(), Addr: c.RemoteAddr(), Err: errSevered}
	}
	return n, err
}

// SQLSTATEs that another try may get over.
const (
	stateSerializationFailure = "40001"
	stateDeadlock             = "40P01"
)

func postgresRetryable(err error) bool {
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		return e.Code == stateSerializationFailure || e.Code == stateDeadlock
	}
	return false
}

// eventsChannel is notified by every transaction that adds events.
const eventsChannel = "grace_events"

const relistenAfter = time.Second

// listen calls wake for every notification until ctx is done. A lost
// connection is made again; what came meanwhile is made up by one call.
func (s *Store) listen(ctx context.Context, wake func()) {
	for told := false; ; {
		listened := false
		err := s.listenOnce(ctx, func() { listened = true; wake() })
		// The reader's polling covers what is missed: later, but surely.
		if err != nil && ctx.Err() == nil && (listened || !told) {
			s.log.WarnContext(ctx, "the database tells of no new events; they are looked for every second until it does again", "error", err)
			told = true
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(relistenAfter):
		}
	}
}

func (s *Store) listenOnce(ctx context.Context, wake func()) error {
	pooled, err := s.pool.Acquire(ctx)
	if err != nil {
		return err
	}
	// Not given back: nobody else may get a connection that listens.
	conn := pooled.Hijack()
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	if _, err := conn.Exec(ctx, "LISTEN "+eventsChannel); err != nil {
		return err
	}
	for {
		wake()
		if _, err := conn.WaitForNotification(ctx); err != nil {
			return err
		}
	}
}
