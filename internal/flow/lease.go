package flow

import (
	"context"
	"errors"
	"fmt"
	"slices"
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

// leaseTimes are how a lease is kept. Tests have shorter ones.
type leaseTimes struct {
	ttl     time.Duration // a renewal holds for that long
	beat    time.Duration // between renewals, and between looks for orphans
	retry   time.Duration // between renewals while the database does not answer
	timeout time.Duration // of one query
	// gap without a renewal by anybody after which the database counts as
	// having been away. patience is how long everybody then has to renew
	// before anything is taken.
	gap, patience time.Duration
}

func usualTimes() leaseTimes {
	return leaseTimes{
		ttl: leaseTTL, beat: leaseBeat, retry: time.Second, timeout: leaseTimeout, gap: 5 * time.Second, patience: 6 * time.Second,
	}
}

// lease says on the database's clock that this process lives, and adopts the
// runs of those that no longer do.
//
// A lease that has ended is only ended for good by an adopter, who marks it
// taken before it touches the runs; until then its owner may renew it. Both
// are one UPDATE of the same row, so exactly one of them wins, and a process
// to which the database was away need not guess what happened meanwhile.
type lease struct {
	cfg    Config
	times  leaseTimes
	pool   *pgxpool.Pool
	ctx    dbos.Context
	cancel context.CancelFunc
	done   sync.WaitGroup

	mu      sync.Mutex
	last    time.Time     // of the newest renewal, taken before it was sent
	renewed chan struct{} // closed and replaced by every renewal
}

const leaseTable = `CREATE SCHEMA IF NOT EXISTS grace;
CREATE TABLE IF NOT EXISTS grace.flow_lease (
	executor text PRIMARY KEY,
	expires  timestamptz NOT NULL
);
ALTER TABLE grace.flow_lease ADD COLUMN IF NOT EXISTS taken boolean NOT NULL DEFAULT false;
CREATE TABLE IF NOT EXISTS grace.flow_seen (
	id    integer PRIMARY KEY CHECK (id = 1),
	at    timestamptz NOT NULL,
	since timestamptz NOT NULL
);
INSERT INTO grace.flow_seen (id, at, since) VALUES (1, now(), now()) ON CONFLICT DO NOTHING`

const leaseTableReady = `SELECT to_regclass('grace.flow_seen') IS NOT NULL`

// seenNow notes that somebody reached the database now, and since when there
// has been no gap in that. It goes with every renewal; $3 is the gap.
const seenNow = `WITH seen AS (UPDATE grace.flow_seen SET at = now(),
	since = CASE WHEN at < now() - make_interval(secs => $3) THEN now() ELSE since END) `

func newLease(ctx context.Context, cfg Config, dctx dbos.Context, times leaseTimes) (*lease, error) {
	l := &lease{cfg: cfg, times: times, pool: cfg.PG, ctx: dctx, renewed: make(chan struct{})}
	if err := l.migrate(ctx); err != nil {
		return nil, err
	}
	at := time.Now()
	if _, err := l.pool.Exec(ctx, seenNow+`INSERT INTO grace.flow_lease (executor, expires) VALUES ($1, now() + make_interval(secs => $2))`,
		cfg.Executor, times.ttl.Seconds(), times.gap.Seconds()); err != nil {
		return nil, fmt.Errorf("take the lease of %s: %w", cfg.Executor, err)
	}
	l.confirm(at)
	return l, nil
}

// migrate creates the table. Two processes may start at once, and PostgreSQL's
// IF NOT EXISTS is not safe then: an advisory lock makes them take turns.
func (l *lease) migrate(ctx context.Context) error {
	err := pgx.BeginFunc(ctx, l.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock(hashtext('grace.flow_lease'))`); err != nil {
			return err
		}
		var ready bool
		if err := tx.QueryRow(ctx, leaseTableReady).Scan(&ready); err != nil || ready {
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

// ErrTaken: another process has adopted the runs. There is no way back.
var ErrTaken = errors.New("the lease has ended and was taken")

// beat renews the lease, also one that has ended, unless it was taken.
func (l *lease) beat(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, l.times.timeout)
	defer cancel()
	// The time before the query: a slow answer must not make the lease look
	// younger than it is.
	at := time.Now()
	tag, err := l.pool.Exec(ctx, seenNow+`UPDATE grace.flow_lease SET expires = now() + make_interval(secs => $2)
		WHERE executor = $1 AND NOT taken`, l.cfg.Executor, l.times.ttl.Seconds(), l.times.gap.Seconds())
	if err == nil && tag.RowsAffected() == 0 {
		err = ErrTaken
	}
	if err != nil {
		return fmt.Errorf("renew the lease of %s: %w", l.cfg.Executor, err)
	}
	l.confirm(at)
	return nil
}

func (l *lease) confirm(at time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last = at
	close(l.renewed)
	l.renewed = make(chan struct{})
}

// held tells whether nobody can have taken the lease yet, and otherwise what
// to wait for.
func (l *lease) held() (bool, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return time.Since(l.last) < l.times.ttl, l.renewed
}

// await waits until the lease is held. It is false when one of the contexts
// ended first. A process that stood still, or to which the database is away,
// begins nothing that another one may be doing.
func (l *lease) await(run, stopping context.Context) bool {
	for {
		held, renewed := l.held()
		if held {
			return true
		}
		select {
		case <-renewed:
		case <-run.Done():
			return false
		case <-stopping.Done():
			return false
		}
	}
}

func (l *lease) start() {
	ctx, cancel := context.WithCancel(context.Background())
	l.cancel = cancel
	l.done.Go(func() { l.keep(ctx) })
	l.done.Go(func() { l.lookForOrphans(ctx) })
}

// keep renews the lease until ctx is done or it was taken.
func (l *lease) keep(ctx context.Context) {
	next := l.times.beat
	for away := false; ; {
		select {
		case <-ctx.Done():
			return
		case <-time.After(next):
		}
		err := l.beat(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case errors.Is(err, ErrTaken):
			l.cfg.Lost(fmt.Errorf("no renewal within %s, so another process may drive this one's runs: %w", l.times.ttl, err))
			return
		case err != nil:
			next = l.times.retry
			if !away {
				l.cfg.Logger.Warn("lease not renewed; no step begins once it has ended", "error", err)
			}
		default:
			next = l.times.beat
			if away {
				l.cfg.Logger.Info("lease renewed")
			}
		}
		away = err != nil
	}
}

func (l *lease) lookForOrphans(ctx context.Context) {
	tick := time.NewTicker(l.times.beat)
	defer tick.Stop()
	for {
		// At once: the process before this one may have stopped in order.
		if held, _ := l.held(); held {
			if err := l.adopt(ctx); err != nil && ctx.Err() == nil {
				l.cfg.Logger.Warn("orphaned runs not looked for; tried again soon", "error", err)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// adopt takes over the runs of executors without a lease. Owners are read
// before leases: a process that starts in between has its lease first, so it
// is never taken for dead. A dead one's lease row stays until it is a day old,
// so that two adopters see the same.
func (l *lease) adopt(ctx context.Context) error {
	// The engine would try again for as long as the database is away.
	dctx, cancel := dbos.WithTimeout(l.ctx, l.times.timeout)
	defer cancel()
	owners, err := dbos.GetWorkflowAggregates(dctx, dbos.GetWorkflowAggregatesInput{
		GroupByExecutorID: true, SelectCount: true,
		Status: []dbos.WorkflowStatusType{dbos.WorkflowStatusPending},
	})
	if err != nil {
		return fmt.Errorf("read the owners of open runs: %w", err)
	}
	var ids []string
	for _, o := range owners {
		if id := o.Group["executor_id"]; id != nil && *id != "" && *id != l.cfg.Executor {
			ids = append(ids, *id)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	dead, err := l.take(ctx, ids)
	if err != nil || len(dead) == 0 {
		return err
	}
	rt, err := internals.RuntimeOf(dctx)
	if err != nil {
		return fmt.Errorf("reach the engine's recovery: %w", err)
	}
	handles, err := rt.RecoverPendingWorkflows(dead)
	if err != nil {
		return fmt.Errorf("adopt the runs of %v: %w", dead, err)
	}
	l.cfg.Logger.Info("adopted runs of dead processes", "executors", dead, "runs", len(handles))
	_, err = l.pool.Exec(ctx, `DELETE FROM grace.flow_lease WHERE expires < now() - interval '1 day'`)
	return err
}

// take marks the leases that have ended as taken, and gives those of the
// executors whose runs are without an owner: taken now, taken before, or
// without any lease. None is taken while nobody has reached the database, which the
// next renewal is to note.
func (l *lease) take(ctx context.Context, ids []string) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, l.times.timeout)
	defer cancel()
	if _, err := l.pool.Exec(ctx, `UPDATE grace.flow_lease SET taken = true
		WHERE executor = ANY($1) AND NOT taken AND expires <= now()
		AND EXISTS (SELECT FROM grace.flow_seen WHERE since <= now() - make_interval(secs => $2) AND at >= now() - make_interval(secs => $3))`,
		ids, l.times.patience.Seconds(), l.times.gap.Seconds()); err != nil {
		return nil, fmt.Errorf("take ended leases: %w", err)
	}
	rows, err := l.pool.Query(ctx, `SELECT executor FROM grace.flow_lease WHERE NOT taken`)
	if err != nil {
		return nil, fmt.Errorf("read leases: %w", err)
	}
	alive, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("read leases: %w", err)
	}
	return slices.DeleteFunc(ids, func(id string) bool { return slices.Contains(alive, id) }), nil
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
	if _, err := conn.Exec(ctx, `UPDATE grace.flow_lease SET expires = now(), taken = true WHERE executor = $1`, l.cfg.Executor); err != nil {
		return fmt.Errorf("release the lease: %w", err)
	}
	return nil
}
