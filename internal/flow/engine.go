package flow

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/dbos-inc/dbos-transact-golang/dbos"
	// Registers the SQLite dialect of the engine.
	_ "github.com/dbos-inc/dbos-transact-golang/dbos/driver/sqlite"
	"github.com/jackc/pgx/v5/pgxpool"

	"grace"
	"grace/internal/dbtx"
)

// Version of the recorded order of steps. It is a constant, not the binary's
// hash: open runs survive an upgrade. Change the order only behind dbos.Patch.
const Version = "grace-run-3"

const (
	appName      = "grace"
	queueName    = "runs"
	workflowName = "run"
	controlTopic = "control"

	// pollInterval bounds the time from a decision to the first action. An
	// empty poll costs about 0.1 ms.
	pollInterval = 20 * time.Millisecond

	// maxRecoveries is how often a run may be picked up after a crash before
	// the engine gives up on it.
	maxRecoveries = 1000
)

// Config of an engine. Exactly one of SQL (SQLite) and PG is set.
type Config struct {
	SQL *sql.DB
	PG  *pgxpool.Pool
	// Executor names this process: constant on SQLite, unique for every start
	// on PostgreSQL.
	Executor string
	Logger   *slog.Logger
	// Run is the run function. Its input is what Enqueue was given, as JSON.
	Run func(r *Run) error
	// Key authenticates what the engine keeps of a run: who can write to the
	// database, but has no key, must not have anything done.
	Key []byte
	// Forged is told of an input or a checkpoint that was not written with the key;
	// it may be nil, and must not wait.
	Forged func(what string, err error)
	// Lost is called once when this process must stop because another one may
	// have adopted its runs. PostgreSQL only.
	Lost func(error)
}

// Engine starts and drives runs. Make it with New, begin with Start.
type Engine struct {
	cfg   Config
	ctx   dbos.Context
	ds    *dbos.DataSource
	lease *lease
	drain *drain
	times leaseTimes
	// taken ends when another process has adopted this one's runs.
	taken    context.Context //nolint:containedctx // a signal that contexts can follow
	setTaken context.CancelCauseFunc
}

// New prepares the engine and its tables. Nothing runs before Start.
func New(ctx context.Context, cfg Config) (*Engine, error) {
	if (cfg.SQL == nil) == (cfg.PG == nil) {
		return nil, errors.New("flow: want exactly one of an SQLite and a PostgreSQL database")
	}
	if cfg.PG != nil {
		done, err := turn(ctx, cfg.PG)
		if err != nil {
			return nil, fmt.Errorf("take turns to prepare the run engine: %w", err)
		}
		defer done()
	}
	drain := newDrain()
	// Only Stop ends the engine: it takes the end of a context that it was
	// given for a wish to cancel every open run for good.
	dctx, err := dbos.NewContext(context.WithoutCancel(ctx), dbos.Config{
		AppName:            appName,
		SQLiteSystemDB:     cfg.SQL,
		SystemDBPool:       cfg.PG,
		ApplicationVersion: Version,
		ExecutorID:         cfg.Executor,
		Logger:             slog.New(shutdownLogFilter{cfg.Logger.Handler(), drain.begun}),
	})
	if err != nil {
		return nil, fmt.Errorf("prepare the run engine: %w", err)
	}
	e := &Engine{cfg: cfg, ctx: dctx, drain: drain, times: usualTimes()}
	e.taken, e.setTaken = context.WithCancelCause(context.Background())
	if cfg.PG != nil {
		e.ds, err = dbos.NewDataSource(dctx, cfg.PG)
	} else {
		e.ds, err = dbos.NewDataSource(dctx, cfg.SQL)
	}
	if err != nil {
		return nil, fmt.Errorf("prepare the run engine's data source: %w", err)
	}
	dbos.RegisterWorkflow(dctx, e.workflow, dbos.WithWorkflowName(workflowName),
		dbos.WithMaxRecoveryAttempts(maxRecoveries))
	if _, err := dbos.RegisterQueue(dctx, queueName, dbos.WithQueueBasePollingInterval(pollInterval)); err != nil {
		return nil, fmt.Errorf("register the run queue: %w", err)
	}
	return e, nil
}

// turnEvery is the time between two looks whether another process still prepares.
const turnEvery = 100 * time.Millisecond

// turn waits until no other process prepares the engine's tables, until done is
// called: the engine's own migrations do not stand two at once. It asks again and
// again, since a query that waits for the lock holds a snapshot, and the indexes
// that the other one creates concurrently would wait for that.
func turn(ctx context.Context, pool *pgxpool.Pool) (done func(), err error) {
	pooled, err := pool.Acquire(ctx)
	if err != nil {
		return nil, err
	}
	conn := pooled.Hijack() // closing it gives the lock back, whatever has happened
	done = func() { _ = conn.Close(context.WithoutCancel(ctx)) }
	for {
		var mine bool
		err := conn.QueryRow(ctx, `SELECT pg_try_advisory_lock(hashtext('grace.flow'))`).Scan(&mine)
		if mine {
			return done, nil
		}
		if err == nil {
			select {
			case <-time.After(turnEvery):
				continue
			case <-ctx.Done():
				err = ctx.Err()
			}
		}
		done()
		return nil, err
	}
}

// Start recovers this executor's open runs and begins to take new ones.
func (e *Engine) Start(ctx context.Context) error {
	if e.cfg.PG != nil {
		cfg := e.cfg
		cfg.Lost = func(err error) {
			e.setTaken(err) // first: what is under way ends now, the process soon
			e.cfg.Lost(err)
		}
		l, err := newLease(ctx, cfg, e.ctx, e.times)
		if err != nil {
			return err
		}
		e.lease = l // the first beat is on the record before anything is owned
	}
	if err := dbos.Launch(e.ctx); err != nil {
		return fmt.Errorf("start the run engine: %w", err)
	}
	if e.lease != nil {
		e.lease.start()
	}
	return nil
}

// Stop begins no further step, lets the ones under way end and be recorded for
// at most timeout, and then interrupts every run and waits for that, again for
// at most timeout. The runs stay open and go on in the next process. The engine
// closes the database handles it was given.
func (e *Engine) Stop(timeout time.Duration) error {
	e.drain.wait(timeout) // with the lease kept up
	if e.lease != nil {
		e.lease.stop()
	}
	if err := dbos.Shutdown(e.ctx, timeout); err != nil {
		return fmt.Errorf("stop the run engine: %w", err)
	}
	if e.lease != nil {
		return e.lease.release()
	}
	return nil
}

// owns waits until it is certain that no other process drives this one's runs.
// It is false when the engine stops, or no longer drives the run, before that.
func (e *Engine) owns(run context.Context) bool {
	return e.lease == nil || e.lease.await(run, e.drain.begun)
}

// Enqueue starts a run when tx commits. The id must be new: the same id again
// is an error that aborts tx, so a run cannot be doubled.
func (e *Engine) Enqueue(_ context.Context, tx dbtx.Tx, id grace.RunID, input any) error {
	sealed, err := e.seal(id, inputName, input)
	if err != nil {
		return fmt.Errorf("enqueue run %s: %w", id, err)
	}
	_, err = dbos.Enqueue[string](e.ctx, queueName, workflowName, sealed,
		dbos.WithEnqueueWorkflowID(string(id)),
		dbos.WithEnqueueTransaction(engineTx{tx}),
		dbos.WithEnqueueApplicationVersion(Version),
		dbos.WithEnqueueWorkflowIDReusePolicy(dbos.WorkflowIDReusePolicyReject))
	if err != nil {
		return fmt.Errorf("enqueue run %s: %w", id, err)
	}
	return nil
}

// Send gives a run a message when tx commits. The same key is sent once.
func (e *Engine) Send(_ context.Context, tx dbtx.Tx, id grace.RunID, key string, m grace.ControlMessage) error {
	err := dbos.Send(e.ctx, string(id), m, controlTopic,
		dbos.WithSendTransaction(engineTx{tx}), dbos.WithIdempotencyKey(key))
	if err != nil {
		return fmt.Errorf("send %s to run %s: %w", m.Kind, id, err)
	}
	return nil
}

// Failed lists runs that the engine gave up on (their function returned an
// error or panicked, or they crashed the process too often), newest first.
func (e *Engine) Failed(ids []grace.RunID) (map[grace.RunID]string, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	names := make([]string, len(ids))
	for i, id := range ids {
		names[i] = string(id)
	}
	list, err := dbos.ListWorkflows(e.ctx, dbos.WithFilterWorkflowIDs(names...),
		dbos.WithFilterLoadInput(false), dbos.WithFilterLoadOutput(false))
	if err != nil {
		return nil, fmt.Errorf("list runs in the engine: %w", err)
	}
	failed := map[grace.RunID]string{}
	seen := map[grace.RunID]bool{}
	for _, w := range list {
		seen[grace.RunID(w.ID)] = true
		switch w.Status {
		case dbos.WorkflowStatusPending, dbos.WorkflowStatusEnqueued, dbos.WorkflowStatusDelayed:
		default:
			text := fmt.Sprintf("engine status %s", w.Status)
			if w.Error != nil {
				text += ": " + w.Error.Error()
			}
			failed[grace.RunID(w.ID)] = text
		}
	}
	for _, id := range ids {
		if !seen[id] {
			failed[id] = "unknown to the engine"
		}
	}
	return failed, nil
}

// Forget deletes the engine's records of runs that ended before a time, at
// most limit of them, and tells how many.
func (e *Engine) Forget(before time.Time, limit int) (int, error) {
	list, err := dbos.ListWorkflows(e.ctx, dbos.WithFilterCompletedBefore(before), dbos.WithFilterLimit(limit),
		dbos.WithFilterLoadInput(false), dbos.WithFilterLoadOutput(false))
	if err != nil {
		return 0, fmt.Errorf("list ended runs in the engine: %w", err)
	}
	ids := make([]string, 0, len(list))
	for _, w := range list {
		ids = append(ids, w.ID)
	}
	if len(ids) == 0 {
		return 0, nil
	}
	if err := dbos.DeleteWorkflows(e.ctx, ids); err != nil {
		return 0, fmt.Errorf("delete ended runs from the engine: %w", err)
	}
	return len(ids), nil
}

// Depth counts the runs the engine holds as queued and as started.
func (e *Engine) Depth() (queued, started int, err error) {
	rows, err := dbos.GetWorkflowAggregates(e.ctx, dbos.GetWorkflowAggregatesInput{
		GroupByStatus: true, SelectCount: true,
		Status: []dbos.WorkflowStatusType{dbos.WorkflowStatusPending, dbos.WorkflowStatusEnqueued},
	})
	if err != nil {
		return 0, 0, fmt.Errorf("count runs in the engine: %w", err)
	}
	for _, row := range rows {
		if row.Count == nil || row.Group["status"] == nil {
			continue
		}
		if *row.Group["status"] == string(dbos.WorkflowStatusPending) {
			started += int(*row.Count)
		} else {
			queued += int(*row.Count)
		}
	}
	return queued, started, nil
}
