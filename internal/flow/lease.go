package flow

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/dbos-inc/dbos-transact-golang/dbos"
	"github.com/dbos-inc/dbos-transact-golang/dbos/internals"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

const (
	leaseTTL     = 10 * time.Second
	leaseBeat    = 3 * time.Second
	leaseTimeout = 2 * time.Second
)

// lease says on the database's clock that this process lives, and adopts the
// runs of those that no longer do.
type lease struct {
	cfg     Config
	pool    *pgxpool.Pool
	runtime internals.Runtime
	ctx     dbos.Context
	cancel  context.CancelFunc
	done    sync.WaitGroup
	last    time.Time // of the newest beat that reached the database
}

const leaseTable = `CREATE SCHEMA IF NOT EXISTS grace;
CREATE TABLE IF NOT EXISTS grace.flow_lease (
	executor text PRIMARY KEY,
	expires  timestamptz NOT NULL
)`

func newLease(ctx context.Context, cfg Config, dctx dbos.Context) (*lease, error) {
	rt, err := internals.RuntimeOf(dctx)
	if err != nil {
		return nil, fmt.Errorf("reach the engine's recovery: %w", err)
	}
	l := &lease{cfg: cfg, pool: cfg.PG, runtime: rt, ctx: dctx}
	if err := l.migrate(ctx); err != nil {
		return nil, err
	}
	if err := l.beat(ctx); err != nil {
		return nil, err
	}
	return l, nil
}

// migrate creates the table. Two processes may start at once, and PostgreSQL's
// IF NOT EXISTS is not safe then: an advisory lock makes them take turns.
func (l *lease) migrate(ctx context.Context) error {
	err := pgx.BeginFunc(ctx, l.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock(hashtext('grace.flow_lease'))`); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, leaseTable)
		return err
	})
	if err != nil {
		return fmt.Errorf("create the lease table: %w", err)
	}
	return nil
}

// errLeaseEnded: the lease was not renewed in time, as the database's clock
// sees it. It is not taken up again: another process may have adopted the runs.
var errLeaseEnded = errors.New("the lease has ended")

func (l *lease) beat(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, leaseTimeout)
	defer cancel()
	// The time before the query: a slow answer must not make the lease look
	// younger than it is.
	at := time.Now()
	tag, err := l.pool.Exec(ctx, `INSERT INTO grace.flow_lease AS l (executor, expires) VALUES ($1, now() + make_interval(secs => $2))
		ON CONFLICT (executor) DO UPDATE SET expires = excluded.expires WHERE l.expires > now()`, l.cfg.Executor, leaseTTL.Seconds())
	if err == nil && tag.RowsAffected() == 0 {
		err = errLeaseEnded
	}
	if err != nil {
		return fmt.Errorf("renew the lease of %s: %w", l.cfg.Executor, err)
	}
	l.last = at
	return nil
}

func (l *lease) start() {
	ctx, cancel := context.WithCancel(context.Background())
	l.cancel = cancel
	l.done.Go(func() { l.loop(ctx) })
}

func (l *lease) loop(ctx context.Context) {
	tick := time.NewTicker(leaseBeat)
	defer tick.Stop()
	l.lookForOrphans(ctx) // now: the process before this one may have stopped in order
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		err := l.beat(ctx)
		if ctx.Err() != nil {
			return
		}
		if errors.Is(err, errLeaseEnded) || time.Since(l.last) > leaseTTL {
			l.cfg.Lost(fmt.Errorf("no renewal within %s, so another process may drive this one's runs: %w", leaseTTL, err))
			return
		}
		if err != nil {
			l.cfg.Logger.Warn("lease not renewed", "error", err)
		}
		l.lookForOrphans(ctx)
	}
}

func (l *lease) lookForOrphans(ctx context.Context) {
	if err := l.adopt(ctx); err != nil && ctx.Err() == nil {
		l.cfg.Logger.Warn("orphaned runs not looked for; tried again soon", "error", err)
	}
}

// adopt takes over the runs of executors without a live lease. Owners are read
// before leases: a process that starts in between has its lease first, so it
// is never taken for dead. A dead one's lease row stays until it is a day old,
// so that two adopters see the same.
func (l *lease) adopt(ctx context.Context) error {
	owners, err := dbos.GetWorkflowAggregates(l.ctx, dbos.GetWorkflowAggregatesInput{
		GroupByExecutorID: true, SelectCount: true,
		Status: []dbos.WorkflowStatusType{dbos.WorkflowStatusPending},
	})
	if err != nil {
		return fmt.Errorf("read the owners of open runs: %w", err)
	}
	rows, err := l.pool.Query(ctx, `SELECT executor FROM grace.flow_lease WHERE expires > now()`)
	if err != nil {
		return fmt.Errorf("read live leases: %w", err)
	}
	live, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return fmt.Errorf("read live leases: %w", err)
	}
	alive := map[string]bool{l.cfg.Executor: true}
	for _, id := range live {
		alive[id] = true
	}
	var dead []string
	for _, o := range owners {
		if id := o.Group["executor_id"]; id != nil && *id != "" && !alive[*id] {
			dead = append(dead, *id)
		}
	}
	if len(dead) == 0 {
		return nil
	}
	handles, err := l.runtime.RecoverPendingWorkflows(dead)
	if err != nil {
		return fmt.Errorf("adopt the runs of %v: %w", dead, err)
	}
	l.cfg.Logger.Info("adopted runs of dead processes", "executors", dead, "runs", len(handles))
	_, err = l.pool.Exec(ctx, `DELETE FROM grace.flow_lease WHERE expires < now() - interval '1 day'`)
	return err
}

func (l *lease) stop() {
	if l.cancel != nil {
		l.cancel()
	}
	l.done.Wait()
}

// release ends the lease at once, so that the others need not wait for it. The
// engine has closed the pool by then.
func (l *lease) release() error {
	ctx, cancel := context.WithTimeout(context.Background(), leaseTimeout)
	defer cancel()
	conn, err := pgx.ConnectConfig(ctx, l.pool.Config().ConnConfig)
	if err != nil {
		return fmt.Errorf("connect to release the lease: %w", err)
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, `UPDATE grace.flow_lease SET expires = now() WHERE executor = $1`, l.cfg.Executor); err != nil {
		return fmt.Errorf("release the lease: %w", err)
	}
	return nil
}
