package store

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// postgresConns is the size of the pool unless the URL sets pool_max_conns.
// The engine shares it: its listener, pollers and every open step's
// transaction take from it.
const postgresConns = 16

func openPostgres(ctx context.Context, url string) (*pgxpool.Pool, error) {
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("read the database URL: %w", err) // pgx hides the password
	}
	if !strings.Contains(url, "pool_max_conns") {
		config.MaxConns = postgresConns
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
	for {
		_ = s.listenOnce(ctx, wake) // the reader's polling covers what is missed
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
