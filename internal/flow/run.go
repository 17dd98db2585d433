package flow

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/dbos-inc/dbos-transact-golang/dbos"

	"grace"
	"grace/internal/dbtx"
)

// Run is one execution of the run function, live or replayed.
type Run struct {
	engine   *Engine
	ctx      dbos.Context
	id       grace.RunID
	input    sealed
	recorded map[string]bool // names whose checkpoint was there when this execution began
}

// errStopped marks errors that only say that this process is going away.
var errStopped = errors.New("the engine stops; the run goes on in the next process")

// errRecorded: what this execution was about to record is on record already,
// and was not when it began. So another process has taken the run over and is
// ahead. The engine refuses what the one that lost the run writes, but would let
// it read on as if the other's records were its own.
var errRecorded = fmt.Errorf("another process has recorded it: %w", dbos.ErrConflictingWorkflowID)

// Stopped tells whether err means that this process no longer drives the run:
// it shuts down, or another process has taken over. The run is not over.
func Stopped(err error) bool {
	return errors.Is(err, errStopped) || errors.Is(err, dbos.ErrConflictingWorkflowID) ||
		errors.Is(err, dbos.ErrWorkflowCancelled) || errors.Is(err, context.Canceled)
}

func (e *Engine) workflow(ctx dbos.Context, input sealed) (string, error) {
	id, err := dbos.GetWorkflowID(ctx)
	if err != nil {
		return "", fmt.Errorf("read the run's id: %w", err)
	}
	// Asked on the engine's own context: on the run's it would become a
	// recorded step itself.
	steps, err := dbos.GetWorkflowSteps(e.ctx, id, dbos.WithStepsLoadOutput(false))
	if err != nil {
		return "", fmt.Errorf("read the run's checkpoints: %w", err)
	}
	r := &Run{engine: e, ctx: ctx, id: grace.RunID(id), input: input, recorded: make(map[string]bool, len(steps))}
	for _, s := range steps {
		r.recorded[s.StepName] = true
	}
	if err := e.cfg.Run(r); err != nil {
		return "", err
	}
	return "ended", nil
}

// ID of the run.
func (r *Run) ID() grace.RunID { return r.id }

// Context ends when this process no longer drives the run.
func (r *Run) Context() context.Context { return r.ctx }

// Input decodes what Enqueue was given; it wraps [ErrForged].
func (r *Run) Input(into any) error {
	if err := r.engine.open(r.id, inputName, r.input, into); err != nil {
		return fmt.Errorf("read the input of run %s: %w", r.id, err)
	}
	return nil
}

// Owned asks the database whether this process still drives the run, and keeps
// others from taking it over for the time of a lease. It is to be asked right
// before every attempt at something that must not be done twice: a process that
// stood still does not know by itself how long. The error is [ErrTaken] where
// another process has the run, any other means that it could not be found out.
func (r *Run) Owned(ctx context.Context) error {
	if err := r.ctx.Err(); err != nil {
		return fmt.Errorf("run %s: %w: %w", r.id, errStopped, err)
	}
	l := r.engine.lease
	if l == nil {
		return nil // one process has the database for itself
	}
	if err := l.beat(ctx); err != nil {
		if errors.Is(err, ErrTaken) {
			r.engine.setTaken(err)
		}
		return fmt.Errorf("run %s: %w", r.id, err)
	}
	return nil
}

// Tx runs fn in a transaction, once, and returns its result, on a replay the
// recorded one. An error of fn that is not the database's is recorded too.
func Tx[R any](r *Run, name string, fn func(ctx context.Context, tx dbtx.Tx) (R, error)) (R, error) {
	var out R
	ran := false
	kept, err := dbos.RunAsTransaction(r.ctx, r.engine.ds, func(ctx context.Context, tx dbos.Tx) (sealed, error) {
		ran = true
		commits := &dbtx.Commits{} // of this try
		result, err := fn(ctx, ourTx{tx, commits})
		if err != nil {
			return sealed{}, err
		}
		out, err := r.engine.seal(r.id, name, result)
		out.fresh = commits
		return out, err
	}, dbos.WithStepName(name))
	if err == nil && kept.fresh != nil { // this very try was committed, and no other record found
		kept.fresh.Committed()
	}
	if err == nil && !ran && !r.recorded[name] {
		err = errRecorded
	}
	if err == nil {
		err = r.engine.open(r.id, name, kept, &out)
	}
	if err != nil {
		return out, fmt.Errorf("run %s, transaction %q: %w", r.id, name, err)
	}
	return out, nil
}

// Recorded is what a Step's checkpoint holds.
type recordedStep[R any] struct {
	Outcome grace.Outcome `json:"outcome"`
	Result  R             `json:"result"`
}

// Step does something outside and records its outcome by record, in one
// transaction with the checkpoint. do is not called when that was recorded
// before. [Engine.Stop] waits for a step under way; when it gives up waiting,
// nothing is recorded and the error is Stopped.
func Step[R any](r *Run, name string, do func(ctx context.Context) grace.Outcome,
	record func(ctx context.Context, tx dbtx.Tx, o grace.Outcome) (R, error),
) (grace.Outcome, R, error) {
	if r.recorded[name] {
		return recordStep(r, name, grace.Outcome{}, record)
	}
	if !r.engine.owns(r.ctx) || !r.engine.drain.enter() {
		var zero R
		return grace.Outcome{}, zero, r.stopped(name)
	}
	ctx, cancel := r.whileOwned()
	defer cancel()
	seen := do(ctx)
	if r.engine.taken.Err() != nil {
		r.engine.drain.leave()
		var zero R
		return seen, zero, r.stopped(name)
	}
	defer r.engine.drain.leave()
	return recordStep(r, name, seen, record)
}

// whileOwned gives a context that also ends when another process has taken the
// run: two must not act at once.
func (r *Run) whileOwned() (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(r.ctx)
	stop := context.AfterFunc(r.engine.taken, func() { cancel(context.Cause(r.engine.taken)) })
	return ctx, func() { stop(); cancel(nil) }
}

// Look is a Step that changes nothing outside: Stop breaks it off, and the next
// process begins it anew.
func Look[R any](r *Run, name string, do func(ctx context.Context) grace.Outcome,
	record func(ctx context.Context, tx dbtx.Tx, o grace.Outcome) (R, error),
) (grace.Outcome, R, error) {
	if r.recorded[name] {
		return recordStep(r, name, grace.Outcome{}, record)
	}
	if !r.engine.owns(r.ctx) {
		var zero R
		return grace.Outcome{}, zero, r.stopped(name)
	}
	ctx, cancel := r.whileOwned()
	defer cancel()
	defer context.AfterFunc(r.engine.drain.begun, cancel)()
	seen := do(ctx)
	if r.engine.drain.begun.Err() != nil || r.engine.taken.Err() != nil {
		var zero R
		return seen, zero, r.stopped(name)
	}
	return recordStep(r, name, seen, record)
}

func recordStep[R any](r *Run, name string, live grace.Outcome,
	record func(ctx context.Context, tx dbtx.Tx, o grace.Outcome) (R, error),
) (grace.Outcome, R, error) {
	if r.ctx.Err() != nil {
		var zero R
		return live, zero, r.stopped(name)
	}
	out, err := Tx(r, name, func(ctx context.Context, tx dbtx.Tx) (recordedStep[R], error) {
		result, err := record(ctx, tx, live)
		return recordedStep[R]{Outcome: live, Result: result}, err
	})
	return out.Outcome, out.Result, err
}

// stopped waits for the end of the run's context: the engine takes an error
// that comes before it for the run's own.
func (r *Run) stopped(name string) error {
	<-r.ctx.Done()
	return fmt.Errorf("run %s, step %q: %w: %w", r.id, name, errStopped, r.ctx.Err())
}

// Control waits until a message comes (ok) or the time is reached.
func (r *Run) Control(until time.Time) (m grace.ControlMessage, ok bool, err error) {
	m, err = dbos.Recv[grace.ControlMessage](r.ctx, controlTopic, max(0, time.Until(until)))
	if r.ctx.Err() != nil {
		return m, false, fmt.Errorf("run %s, wait: %w: %w", r.id, errStopped, r.ctx.Err())
	}
	if errors.Is(err, dbos.ErrTimeout) {
		return m, false, nil
	}
	if err != nil {
		return m, false, fmt.Errorf("run %s, wait for a message: %w", r.id, err)
	}
	return m, true, nil
}
